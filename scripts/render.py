#!/usr/bin/env python3
"""Writes what every host of an inventory would get, without reaching any host, so that a change is reviewed as a diff.

  bin/render inventories/prod                 writes render/prod/HOST/files/... and render/prod/budget.txt
  bin/render inventories/prod --output DIR

Each host's folder holds its files under their own paths, files.txt (owner, group, mode, path) and sizes.yml. Capacities come from the fact
cache, else from a declared host_capacity, else a reference host is assumed (and said so). Secrets are never written: hidden.NAME stands in.
Exit status: 0, 1 when something cannot be rendered, 2 on nonsense input.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "shared"))
sys.path.insert(0, str(PROJECT / "filter_plugins"))

# Facts, section 1: hosts that nobody has measured yet count as reference hosts.
ASSUMED: dict[str, dict[str, int]] = {
    "postgres": {"vcpus": 8, "memory_mb": 16384, "disk_gb": 160},
    "redis": {"vcpus": 4, "memory_mb": 16384, "disk_gb": 80},
    "app": {"vcpus": 8, "memory_mb": 8192, "disk_gb": 80},
    "celery": {"vcpus": 2, "memory_mb": 2048, "disk_gb": 40},
    "monitoring": {"vcpus": 4, "memory_mb": 8192, "disk_gb": 80},
    "lb": {"vcpus": 4, "memory_mb": 4096, "disk_gb": 40},
}
ASSUMED_OTHERS = {"vcpus": 2, "memory_mb": 4096, "disk_gb": 200}
# What Ansible's template module does unless told otherwise.
TEMPLATE_DEFAULTS = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}


def fail(message: str) -> NoReturn:
    print(f"render: {message}", file=sys.stderr)
    raise SystemExit(2)


class Parser(argparse.ArgumentParser):
    """Errors in one clear line."""

    def error(self, message: str) -> NoReturn:
        fail(message)


def assumed_capacity(services: Sequence[str]) -> dict[str, int]:
    """The largest reference host among the services of a host."""
    return next((dict(size) for name, size in ASSUMED.items() if name in services), dict(ASSUMED_OTHERS))


@dataclass(frozen=True)
class Part:
    """A role, or one of its task files, applied to hosts by a play."""

    play: Any
    role: Any
    hosts: tuple[str, ...]
    files: str
    own_vars: Mapping[str, Any]


def drawn_in(role: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Other roles that the tasks of a role import or include: name, the list of their files, variables given to them."""
    for path in sorted(Path(role._role_path).glob("tasks/*.yml")):
        for task in yaml.safe_load(path.read_text(encoding="utf-8")) or ():
            for keyword in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
                given = task.get(keyword)
                if given:
                    part = f"_{given['tasks_from']}" if given.get("tasks_from") else ""
                    yield given["name"], f"__{given['name']}{part}_files", task.get("vars") or {}


def parts_of(inventory: Any, problems: list[str]) -> Iterator[Part]:
    """Roles of site.yml in order, and those that they draw in. One at a time, so that a broken one hides no other."""
    from ansible.playbook.play import Play

    def load(entry: Mapping[str, Any], name: str) -> tuple[Any, Any]:
        play = Play.load({**entry, "roles": [{"role": name}]}, variable_manager=inventory.variables, loader=inventory.loader)
        return play, play.get_roles()[0]

    for entry in inventory.loader.load_from_file(str(PROJECT / "playbooks" / "site.yml")):
        for listed in entry.get("roles", ()):
            name = listed["role"]
            try:
                play, role = load(entry, name)
                hosts = tuple(host.name for host in inventory.manager.get_hosts(play.hosts))
                yield Part(play, role, hosts, f"__{name}_files", {})
                for other, files, own_vars in drawn_in(role):
                    yield Part(*load(entry, other), hosts, files, own_vars)
            except Exception as error:  # Ansible has many kinds of errors; each is one line of the result
                problems.append(f"role {name}: {' '.join(str(error).split())[:400]}")


def role_variables(inventory: Any, part: Part, host: str) -> dict[str, Any]:
    """Variables as a task of this role sees them on this host."""
    from ansible.playbook.task import Task
    from ansible.template import trust_as_template

    task = Task()
    task._role = part.role
    found: dict[str, Any] = inventory.variables.get_vars(play=part.play, host=inventory.manager.get_host(host), task=task)
    own = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in part.own_vars.items()}
    return {**found, **part.role.get_vars(include_params=True), **own}


def render_part(inventory: Any, part: Part, host: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Files of one role on one host: the entry of the role's own list, and the text."""
    from ansible.template import Templar, trust_as_template

    variables = role_variables(inventory, part, host)
    if part.files not in variables:
        return
    folder = Path(part.role._role_path) / "templates"
    engine = Templar(loader=inventory.loader, variables=variables)
    for entry in engine.template(trust_as_template("{{ " + part.files + " }}")) or ():
        source = folder / entry["template"]
        text = trust_as_template(source.read_text(encoding="utf-8"))
        own = {**variables, "item": entry, "template_path": str(source), "ansible_managed": "Ansible managed"}
        environment = Templar(loader=inventory.loader, variables=own).copy_with_new_env(searchpath=[str(folder)], available_variables=own)
        yield dict(entry), str(environment.template(text, escape_backslashes=False, overrides=TEMPLATE_DEFAULTS) or "")


def write_host(folder: Path, files: Mapping[str, tuple[dict[str, Any], str]]) -> None:
    """Files under their own paths, and one list with owner and mode."""
    lines = []
    for path, (entry, text) in sorted(files.items()):
        target = folder / "files" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        lines.append(f"{entry.get('owner', 'root')}:{entry.get('group', 'root')} {entry.get('mode', '0644')} {path}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "files.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def masked_secrets() -> dict[str, str]:
    """Stand-ins for all secrets: a review needs no secret, and a fresh clone has none."""
    from inventory_rules import SECRET_LENGTHS

    return {name: f"hidden.{name}" for name in SECRET_LENGTHS}


def render(path: Path, output: Path, secrets: Mapping[str, str]) -> list[str]:
    """Writes everything, with these values in place of the inventory's secrets; what could not be rendered comes back as messages."""
    from connection_budget import connection_budget
    from fleet_plan import OVERRIDES, plan_fleet
    from inventory_reader import read_inventory
    from inventory_rules import services_of
    from preflight_report import budget_table

    with contextlib.redirect_stderr(io.StringIO()):
        inventory = read_inventory(path, PROJECT, secrets)
    hosts = inventory.groups.get("all", [])
    if not hosts:
        fail(f"inventory {str(path)!r} has no host; give a folder like inventories/prod")
    capacities = inventory.capacities()
    notes = []
    for host in hosts:
        if host not in capacities:
            capacities[host] = assumed_capacity(services_of(host, inventory.groups))
            notes.append(f"{host} was never measured: a reference host is assumed")
        inventory.variables.set_host_facts(host, {"host_capacity": capacities[host]})
    shutil.rmtree(output, ignore_errors=True)
    problems: list[str] = []
    files: dict[str, dict[str, tuple[dict[str, Any], str]]] = {host: {} for host in hosts}
    for part in parts_of(inventory, problems):
        for host in part.hosts:
            try:
                files[host].update({entry["path"]: (entry, text) for entry, text in render_part(inventory, part, host)})
            except Exception as error:  # any error of a template; the others are still worth a look
                problems.append(f"{host}: {part.role.get_name()}: {' '.join(str(error).split())[:400]}")
    for host in hosts:
        write_host(output / host, files[host])
    settings = {host: {name: inventory.get(host, name) for name in [*OVERRIDES.values(), "pgbouncer_reserved_connections"]} for host in hosts}
    fleet = plan_fleet(inventory.groups, capacities, settings)
    for host in hosts:
        sizes = {"host_capacity": capacities[host], **{tier: dict(members[host]) for tier, members in fleet.items() if host in members}}
        # Through JSON: what comes from an inventory carries marks of Ansible's that YAML cannot write.
        (output / host / "sizes.yml").write_text(yaml.safe_dump(json.loads(json.dumps(sizes))), encoding="utf-8")
    budget = connection_budget(fleet)
    (output / "budget.txt").write_text("\n".join([*budget_table(budget), *budget["problems"]]) + "\n", encoding="utf-8")
    print(f"{sum(len(each) for each in files.values())} files of {len(hosts)} hosts in {output}")
    for note in notes:
        print(note)
    return problems


def main(argv: Sequence[str]) -> int:
    parser = Parser(prog="render", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("inventory", metavar="INVENTORY", help="folder like inventories/prod")
    parser.add_argument("--output", metavar="DIR", help="folder to write; it is replaced (default: render/NAME)")
    options = parser.parse_args(argv)
    path = Path(options.inventory)
    if not path.exists():
        fail(f"inventory {options.inventory!r} does not exist; give a folder like inventories/prod")
    output = Path(options.output) if options.output else PROJECT / "render" / path.resolve().name
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not (output / "budget.txt").exists())):
        fail(f"{str(output)!r} holds something else than an earlier rendering; choose another folder")
    problems = render(path, output, masked_secrets())
    for problem in problems:
        print(f"render: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
