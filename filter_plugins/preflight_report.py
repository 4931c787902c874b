"""Filter preflight_report: everything that is wrong with an inventory, its variables, its hosts and its arithmetic, in one list."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: the folders beside it must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
import host_rules
import inventory_rules
from bought_certificate import bought_problems, known_roots
from celery_sizing import celery_sizing
from connection_budget import connection_budget
from environment_rules import environment_problems
from fleet_plan import OVERRIDES, plan_fleet
from gunicorn_sizing import gunicorn_sizing
from host_share import SizingError
from nginx_sizing import nginx_sizing
from pgbouncer_sizing import pgbouncer_sizing
from postgres_sizing import postgres_sizing
from redis_sizing import redis_sizing
from rollout_plan import USERS_PER_HOST, is_example, rollout_plan, rollout_plan_problems

DOCUMENTATION = r"""
name: preflight_report
short_description: All problems of a fleet in one list, and its connection budget as a table
description:
  - Looks at the shape of the inventory, addresses, secrets, the application's environment, certificates, variable names, the hosts as measured, and
    the connection budget.
  - Never stops at the first problem, and never shows the value of a secret.
positional: _input, hostvars
options:
  _input:
    description: Ansible's C(groups).
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars). C(__preflight_measured) of each host is the result of the module host_capacity with O(survey=true).
    type: dict
    required: true
  project:
    description: Folder of the project, whose roles and group_vars say which variables exist.
    type: path
    required: true
  extra_groups:
    description: Groups of the inventory that only group hosts for people.
    type: list
    elements: str
    default: []
  plan:
    description: Texts of the plan of the rollout, C(moas) and C(calendar); empty where the inventory has none.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- vars:
    __preflight_report: "{{ groups | preflight_report(hostvars, project=playbook_dir | dirname) }}"
  ansible.builtin.assert:
    that: not __preflight_report.problems
    fail_msg: "{{ __preflight_report.problems }}"
"""

RETURN = r"""
_value:
  description: The findings.
  type: dict
  contains:
    problems: {description: One line per problem with its fix., type: list, elements: str}
    table: {description: Lines of the connection budget., type: list, elements: str}
    headroom: {description: Least room left, as connection_budget returns it., type: dict}
"""

# A typical host: only the names of the settings matter here.
_ANY_HOST = {"vcpus": 8, "memory_mb": 16384, "disk_gb": 100}
_SETTING_NAMES: dict[str, frozenset[str]] = {
    "app": frozenset(gunicorn_sizing(_ANY_HOST, [])),
    "celery": frozenset(celery_sizing(_ANY_HOST, [])),
    "pgbouncer": frozenset(pgbouncer_sizing(_ANY_HOST, [], poolers=1, max_connections=100)),
    "postgres": frozenset(postgres_sizing(_ANY_HOST, [])),
    "redis": frozenset(redis_sizing(_ANY_HOST, [])),
    "lb": frozenset(nginx_sizing(_ANY_HOST, [])),
}
_TIERS = {
    "clients": "Clients of the pooler on the same host",
    "pools": "Server connections of each pooler",
    "connections": "All pools on one database host, less reserved slots",
    "memory": "Memory of each database host",
}
# What the runtime role gives the application when nobody says otherwise.
_MAIL_DEFAULTS = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_HOST": "localhost", "EMAIL_PORT": "25"}
_DECIDED = ("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "EMAIL_HOST")
_SET_IN = {
    "ALLOWED_HOSTS": "runtime_allowed_hosts",
    "CSRF_TRUSTED_ORIGINS": "platform_public_url",
    "BASE_URL": "platform_public_url",
    "DJANGO_SETTINGS_MODULE": "runtime_settings_module",
    "LOG_LEVEL": "runtime_log_level",
    "ADMIN_IP_WHITELIST": "runtime_admin_networks",
    **{name: f"runtime_mail.{name}" for name in ("EMAIL_BACKEND", "EMAIL_HOST", "EMAIL_PORT", "DEFAULT_FROM_EMAIL")},
}

CERTIFICATE_SOURCES = ("private", "bought", "acme")


class Variables:
    """hostvars, read so that one broken variable never hides the other problems."""

    def __init__(self, hostvars: Any) -> None:
        self._hostvars = hostvars
        # Ansible gathers all variables of a host anew at each access.
        self._hosts: dict[str, Any] = {}

    def _of(self, host: str) -> Any:
        if host not in self._hosts:
            self._hosts[host] = self._hostvars[host]
        return self._hosts[host]

    def get(self, host: str, name: str) -> Any:
        """Value of one variable, None where it is undefined or cannot be templated."""
        try:
            value = self._of(host)[name]
        except Exception:  # Ansible has many kinds of errors for what is undefined; here they all mean "not there"
            return None
        return None if "Undefined" in type(value).__name__ or type(value).__name__.endswith("Marker") else value

    def names(self, host: str) -> set[str]:
        """Names of all variables of one host."""
        try:
            return {str(name) for name in self._of(host)}
        except Exception:  # as above
            return set()


def known_names(project: Path) -> set[str]:
    """Every name that the project's own files mention as a variable: roles' inputs and what group_vars read."""
    names: set[str] = set()
    for pattern in ("roles/*/meta/argument_specs.yml", "roles/*/defaults/*.yml", "group_vars/**/*.yml", "playbooks/*.yml"):
        for path in project.glob(pattern):
            names.update(re.findall(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b", path.read_text()))
    return names


def inventory_problems(groups: Mapping[str, Sequence[str]], variables: Variables, extra_groups: Sequence[str]) -> Iterator[str]:
    """Shape and addresses."""
    hosts = list(groups.get("all") or ())
    addresses = {host: variables.get(host, "ansible_host") for host in hosts}
    yield from inventory_rules.group_problems(groups, extra_groups)
    yield from inventory_rules.quorum_problems(groups)
    yield from inventory_rules.address_problems(addresses)
    if hosts:
        virtual = variables.get(hosts[0], "platform_virtual_address")
        yield from inventory_rules.virtual_address_problems(virtual, addresses, groups.get("lb") or ())
        yield from inventory_rules.domain_problems(variables.get(hosts[0], "platform_domain"), variables.get(hosts[0], "platform_public_url"))


def variable_problems(hosts: Sequence[str], variables: Variables, project: Path, now: datetime.datetime) -> Iterator[str]:
    """Secrets, certificates and names of variables."""
    if not hosts:
        return
    first = hosts[0]
    yield from inventory_rules.secret_problems({name: variables.get(first, name) for name in inventory_rules.SECRET_LENGTHS})
    yield from inventory_rules.certificate_problems("pki_ca_certificate", variables.get(first, "pki_ca_certificate"), now)
    yield from inventory_rules.authority_problems(variables.get(first, "pki_authorities"), now)
    yield from balancer_problems(first, variables, now)
    where: dict[str, list[str]] = {}
    for host in hosts:
        for name in variables.names(host):
            where.setdefault(name, []).append(host)
    yield from inventory_rules.typo_problems(where, known_names(project))
    for service, name in OVERRIDES.items():
        for host in hosts:
            value = variables.get(host, name)
            if value is not None:
                # The same dict on every host of a group is one mistake, not many: dict.fromkeys in report() drops the repeats.
                yield from inventory_rules.setting_problems(name, value, _SETTING_NAMES[service])


def balancer_problems(host: str, variables: Variables, now: datetime.datetime) -> Iterator[str]:
    """Where the public certificate comes from, and what is wrong with it where it was bought."""
    source = variables.get(host, "nginx_certificate_source") or "private"
    names = variables.get(host, "nginx_server_names") or [variables.get(host, "platform_domain")]
    if source not in CERTIFICATE_SOURCES:
        yield f"nginx_certificate_source is {source!r}, but must be one of {inventory_rules.listed(CERTIFICATE_SOURCES)}"
    elif source == "acme" and not variables.get(host, "nginx_acme_email"):
        yield "nginx_certificate_source is acme, but nginx_acme_email is empty; write there whom the issuer tells of trouble"
    elif source == "bought":
        own = [str(each["certificate"]) for each in variables.get(host, "base_ca_certificates") or []]
        chain, key = (variables.get(host, f"nginx_certificate_{part}") for part in ("chain", "key"))
        yield from bought_problems(chain, key, [str(name) for name in names], known_roots(own), now)


def application_environment(host: str, variables: Variables) -> dict[str, str]:
    """The application's environment as far as people decide on it; service addresses are computed and need no check."""
    get = variables.get

    def joined(value: Any) -> str:
        return ",".join(str(each) for each in value) if isinstance(value, (list, tuple)) else str(value or "")

    domain, address = get(host, "platform_domain"), get(host, "ansible_host")
    allowed, url = get(host, "runtime_allowed_hosts"), joined(get(host, "runtime_public_url") or get(host, "platform_public_url"))
    environment = {
        "DEBUG": "0",
        "ALLOWED_HOSTS": joined([domain, address] if allowed is None else allowed),
        "CSRF_TRUSTED_ORIGINS": url,
        "BASE_URL": url,
        "DJANGO_SETTINGS_MODULE": joined(get(host, "runtime_settings_module") or "obcms.settings"),
        "LOG_LEVEL": joined(get(host, "runtime_log_level") or "INFO"),
        "ADMIN_IP_WHITELIST": joined(get(host, "runtime_admin_networks")),
        "DEFAULT_FROM_EMAIL": f"noreply@{domain}",
        **_MAIL_DEFAULTS,
    }
    for name in ("runtime_mail", "runtime_environment"):
        value = get(host, name)
        if isinstance(value, Mapping):
            environment.update({str(key): joined(entry) if entry != 0 else "0" for key, entry in value.items()})
    return environment


def application_problems(host: str, variables: Variables) -> Iterator[str]:
    """The application's environment, with the variable in which people set each value."""
    set_in = dict(_SET_IN)
    for variable in ("runtime_mail", "runtime_environment"):
        value = variables.get(host, variable)
        set_in.update({str(name): f"{variable}.{name}" for name in value} if isinstance(value, Mapping) else {})
    for problem in environment_problems(application_environment(host, variables), required=_DECIDED):
        yield f"{set_in[problem.split()[0]]}: {problem}"


def measured_problems(groups: Mapping[str, Sequence[str]], variables: Variables, now: datetime.datetime) -> Iterator[str]:
    """Hosts as the module found them. A host left out by --limit was not measured and is not judged."""
    for host in groups.get("all") or ():
        measured = variables.get(host, "__preflight_measured")
        if not isinstance(measured, Mapping):
            continue
        yield from host_rules.reach_problems(host, measured, variables.get(host, "ansible_host"))
        survey = (measured.get("ansible_facts") or {}).get("host_survey")
        if not isinstance(survey, Mapping):
            continue
        services = inventory_rules.services_of(host, groups)
        yield from host_rules.system_problems(host, survey)
        yield from host_rules.disk_problems(host, survey, services)
        yield from host_rules.clock_problems(host, survey, now.timestamp())
        yield from host_rules.port_problems(host, survey, services)


def capacities_of(groups: Mapping[str, Sequence[str]], variables: Variables) -> dict[str, Any]:
    """Capacity of every host that has one: just measured, cached, or declared."""
    found = {}
    for host in groups.get("all") or ():
        measured = variables.get(host, "__preflight_measured")
        facts = measured.get("ansible_facts") if isinstance(measured, Mapping) else None
        capacity = (facts or {}).get("host_capacity") or variables.get(host, "host_capacity")
        if isinstance(capacity, Mapping):
            found[host] = capacity
    return found


def budget_of(groups: Mapping[str, Sequence[str]], variables: Variables) -> tuple[dict[str, Any], list[str]]:
    """The connection budget, or why it cannot be computed."""
    capacities = capacities_of(groups, variables)
    names = [*OVERRIDES.values(), "pgbouncer_reserved_connections"]
    settings = {host: {name: variables.get(host, name) for name in names} for host in capacities}
    try:
        budget = connection_budget(plan_fleet(groups, capacities, settings))
    except SizingError as error:
        return connection_budget({}), [str(error)]
    unknown = [host for name in ("app", "celery", "postgres") for host in groups.get(name) or () if host not in capacities]
    judged = [host for host in unknown if variables.get(host, "__preflight_measured") is None]
    if judged:
        budget["problems"].append(
            f"capacity of {inventory_rules.listed(sorted(set(judged)))} is unknown, so the connection budget is not complete; "
            "run playbooks/preflight.yml once without --limit, or declare host_capacity"
        )
    return budget, budget["problems"]


def budget_table(budget: Mapping[str, Any]) -> list[str]:
    """Lines for people: tier by tier, hosts with the same sum on one line."""
    lines: list[str] = []
    for tier, title in _TIERS.items():
        sums: dict[tuple[str, int, int, str], list[str]] = {}
        for row in budget["rows"]:
            if row["tier"] == tier:
                sums.setdefault((row["what"], row["count"], row["limit"], row["unit"]), []).append(row["host"])
        if not sums:
            continue
        lines.append(title)
        for (what, count, limit, unit), hosts in sums.items():
            fit = f"{limit - count} left" if count <= limit else f"{count - limit} TOO MANY"
            lines.append(f"  {inventory_rules.listed(hosts)}: {what} = {count} of {limit} {unit}, {fit}")
    return lines


def plan_of(groups: Any, variables: Variables, plan: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The rollout in a line of the table, and what is wrong with its plan."""
    members = list(groups.get("app") or ())
    moas, calendar = plan.get("moas") or "", plan.get("calendar") or ""
    given = variables.get(members[0], "rollout_users_per_host") if members else None
    per_host = int(given or USERS_PER_HOST)
    problems = rollout_plan_problems(moas, calendar, len(members), per_host)
    if problems or not moas.strip():
        return [], problems
    planned = rollout_plan(moas, calendar, len(members), per_host)
    lines = [
        "Rollout",
        f"  {len(planned['waves'])} waves, {len(planned['moas'])} MOAs, {planned['users']} users of {planned['carries']} the fleet carries",
    ]
    if is_example(calendar):
        lines.append("  waves.csv says that its dates are EXAMPLES: no wave starts before they are agreed on and that line is removed")
    return lines, problems


def preflight_report(
    groups: Any,
    hostvars: Any,
    project: str,
    extra_groups: Sequence[str] = (),
    now: datetime.datetime | None = None,
    plan: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All findings."""
    variables = Variables(hostvars)
    hosts = list(groups.get("all") or ())
    moment = now or datetime.datetime.now(datetime.UTC)
    problems = [
        *inventory_problems(groups, variables, extra_groups),
        *variable_problems(hosts, variables, Path(project), moment),
        *measured_problems(groups, variables, moment),
    ]
    for host in list(groups.get("app") or ())[:1]:
        problems += application_problems(host, variables)
    budget, sums = budget_of(groups, variables)
    rollout, mistakes = plan_of(groups, variables, plan or {})
    return {
        "problems": list(dict.fromkeys([*problems, *sums, *mistakes])),
        "table": budget_table(budget) + rollout,
        "headroom": budget["headroom"],
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"preflight_report": preflight_report}
