#!/usr/bin/env python3
"""The lab: all hosts of inventories/lab as containers on this machine, provisioned and verified.

bin/lab [up]          set up, start the hosts, provision, verify, show where to look; goes on where it was interrupted
                      (further words go to site.yml: bin/lab up -e restore_from=offsite)
bin/lab down          remove the hosts and all they hold
bin/lab reset         down, then up
bin/lab lose          remove the hosts and all they hold; only the off-site storage stays (docs/runbooks/rebuild.md)
bin/lab status        the hosts and their state
bin/lab ssh HOST      a shell on a host (further words are run there)
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import hosts
import image
import offsite
from image import LabError

PROJECT = Path(__file__).resolve().parent.parent
INVENTORY = PROJECT / "inventories" / "lab"
LOGS = PROJECT / ".lab" / "logs"
BIN = PROJECT / ".venv" / "bin"
TERMINAL = sys.stdout.isatty()
# Ports of this machine that lead to the balancers.
PUBLISHED = {"lb1": ["8443:443", "8080:80"], "lb2": ["8444:443", "8081:80"]}
# The lab's shared file system: these groups mount one volume where production mounts NFS or CephFS.
MEDIA_GROUPS = ("lb", "app", "celery")
HEADLINE = re.compile(r"^(PLAY|TASK|RUNNING HANDLER) \[(.*?)\]")


def colour(code: int, text: str) -> str:
    """Text in a colour on a terminal, plain elsewhere."""
    return f"\033[{code}m{text}\033[0m" if TERMINAL else text


class Steps:
    """Runs the steps of `up` one after the other and says which one runs, for how long."""

    def __init__(self, total: int) -> None:
        self.total, self.number, self.start = total, 0, time.monotonic()

    def run(self, title: str, action: Callable[[], str | None]) -> None:
        self.number += 1
        start = time.monotonic()
        print(f"{colour(1, f'[{self.number}/{self.total}] {title}')}", flush=True)
        note = action()
        print(colour(32, f"      done in {time.monotonic() - start:.0f} s") + (f": {note}" if note else ""), flush=True)


@functools.cache
def inventory() -> dict[str, Any]:
    """The lab's inventory as ansible-inventory gives it, read once."""
    output = image.run(str(BIN / "ansible-inventory"), "-i", str(INVENTORY), "--list", cwd=str(PROJECT))
    return dict(json.loads(output))


def wanted_hosts() -> list[hosts.Host]:
    """What hosts.up needs to know of every host of the inventory."""
    data = inventory()
    variables = data["_meta"]["hostvars"]

    def members(group: str) -> list[str]:
        return list(data.get(group, {}).get("hosts", []))

    found = []
    for name in variables:
        sizes = [mb for group, mb in variables[name]["lab_memory_mb"].items() if name in members(group)]
        shared = any(name in members(group) for group in MEDIA_GROUPS)
        host = {"name": name, "address": variables[name]["ansible_host"], "memory_mb": max(sizes, default=512)}
        found.append(host | {"publish": PUBLISHED.get(name, []), "volumes": ["media:/srv/obcms/media"] if shared else []})
    return found


def project_name() -> str:
    """Label of the lab's containers."""
    return str(next(iter(inventory()["_meta"]["hostvars"].values()))["lab_project"])


def play(title: str, *arguments: str) -> str:
    """Run a playbook with its output in a log file; shows the task that runs. LabError names the log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{title}.log"
    start = time.monotonic()
    command = [str(BIN / "ansible-playbook"), "-i", str(INVENTORY), *arguments]
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "PYTHONUNBUFFERED": "1"}
    tail: list[str] = []
    pipe = subprocess.PIPE
    with (
        log.open("w") as sink,
        subprocess.Popen(command, cwd=PROJECT, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment) as process,
    ):
        for line in process.stdout or ():
            sink.write(line)
            sink.flush()
            tail = [*tail, line.rstrip()][-400:]
            show_progress(line, time.monotonic() - start)
    if TERMINAL:
        print("\r\033[K", end="")
    if process.returncode != 0:
        raise LabError("\n".join([f"{title} failed; the last errors of {log.relative_to(PROJECT)}:", *(errors(tail) or tail[-25:])]))
    return "\n".join(tail)


def errors(lines: list[str]) -> list[str]:
    """What failed, each with the lines that belong to it: what the program of a task said is among them."""
    kept: list[str] = []
    within = False
    for line in lines:
        within = bool(re.match(r"(fatal|failed|\[ERROR\])", line) or (within and re.match(r" +\S|$", line)))
        if within and line and not line.lstrip().startswith(("start:", "end:", "delta:")):
            kept.append(line)
    return kept[:60]


def show_progress(line: str, seconds: float) -> None:
    """The running play or task on one line of a terminal; plays only elsewhere."""
    found = HEADLINE.match(line)
    if found and TERMINAL:
        print(f"\r\033[K      {seconds:4.0f} s  {found[2][:90]}", end="", flush=True)
    elif found and found[1] == "PLAY":
        print(f"      {seconds:4.0f} s  {found[2]}", flush=True)


def start_hosts() -> str:
    wanted = wanted_hosts()
    hosts.up(project_name(), wanted)
    return f"{len(wanted)} hosts"


def start_offsite() -> str:
    return offsite.up(project_name())


def lose(project: str, *, everything: bool) -> None:
    """Remove the hosts, and the off-site storage as well unless it is to stay."""
    offsite.leave(project)
    hosts.down(project)
    if everything:
        offsite.down(project)


def make_secrets() -> str | None:
    return str(image.run(str(PROJECT / "bin" / "secrets"), str(INVENTORY))).strip().split(": ", 1)[-1][:60]


def provision(*arguments: str) -> str:
    recap = [line for line in play("site", "site.yml", *arguments).splitlines() if "changed=" in line]
    changed = sum(int(found[1]) for line in recap if (found := re.search(r"changed=(\d+)", line)))
    return f"{changed} changes on {len(recap)} hosts"


def verify() -> str | None:
    try:
        play("verify", "playbooks/verify.yml")
    finally:
        show_checks()
    return None


def show_checks() -> None:
    """The table that verify.yml left behind."""
    report = PROJECT / ".cache" / "verify.json"
    if report.exists():
        sys.path.insert(0, str(PROJECT / "filter_plugins"))
        from checks_table import checks_table

        table = checks_table(json.loads(report.read_text()))
        print("\n" + "\n".join(colour(31, line) if "FAILED" in line else line for line in table.splitlines()) + "\n")


def addresses() -> str:
    """Where to look, with what is needed to get in."""
    variables = next(iter(inventory()["_meta"]["hostvars"].values()))
    domain = variables["platform_domain"]
    return "\n".join(
        [
            "Open:",
            f"  https://127.0.0.1:8443/       balancer lb1 (https://127.0.0.1:8444/ is lb2), as `{domain}`; the lab's own CA signs it",
            f"  curl -k --resolve {domain}:8443:127.0.0.1 https://{domain}:8443/health/",
            f"  https://{variables['platform_virtual_address']}/          the address that moves between the balancers",
            "  bin/lab ssh mon1              Prometheus and Alertmanager listen there on 9090 and 9093 (TLS, client certificate)",
            "Next: README.md, `Everyday commands`.",
        ]
    )


def up(arguments: list[str]) -> None:
    started = time.monotonic()
    (PROJECT / ".cache").mkdir(exist_ok=True)
    steps = Steps(6)
    steps.run("secrets of the lab", make_secrets)
    steps.run("host image", image.build)
    steps.run("hosts", start_hosts)
    steps.run("off-site storage", start_offsite)
    steps.run("site.yml (log: .lab/logs/site.log)", lambda: provision(*arguments))
    steps.run("verify.yml (log: .lab/logs/verify.log)", verify)
    print(addresses())
    print(colour(32, f"The lab is up after {time.monotonic() - started:.0f} s."))


def status() -> None:
    states = hosts.containers(project_name())
    for host in wanted_hosts():
        state = states.get(host["name"], "missing")
        print(f"{host['name']:<10} {host['address']:<15} {colour(32 if state == 'running' else 31, state)}")


def shell(arguments: list[str]) -> int:
    known = {host["name"]: host["address"] for host in wanted_hosts()}
    if not arguments or arguments[0] not in known:
        print(f"lab: usage: bin/lab ssh HOST; HOST is one of {', '.join(known)}", file=sys.stderr)
        return 2
    options = ["-i", str(hosts.KEY), "-o", f"UserKnownHostsFile={hosts.known_hosts(project_name())}", "-o", "IdentitiesOnly=yes"]
    return subprocess.run(["ssh", *options, f"ops@{known[arguments[0]]}", *arguments[1:]], check=False).returncode


def main(argv: list[str]) -> int:
    action = argv[1] if len(argv) > 1 else "up"
    try:
        if action in ("up", "reset"):
            if action == "reset":
                lose(project_name(), everything=True)
            up(argv[2:])
        elif action in ("down", "lose"):
            lose(project_name(), everything=action == "down")
        elif action == "status":
            status()
        elif action == "ssh":
            return shell(argv[2:])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except LabError as error:
        print(colour(31, f"lab: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab: interrupted; `bin/lab` goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
