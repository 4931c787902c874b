"""Parts of the report by themselves, on variables that no Ansible has to read."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_inventory import certificate, secrets
from jinja2 import Undefined

from preflight_report import (
    FilterModule,
    Variables,
    application_environment,
    application_problems,
    budget_of,
    budget_table,
    capacities_of,
    inventory_problems,
    known_names,
    measured_problems,
    plan_of,
    preflight_report,
    variable_problems,
)

NOW = datetime.datetime(2027, 1, 4, tzinfo=datetime.UTC)
CAPACITY = {"vcpus": 8, "memory_mb": 16384, "disk_gb": 160}
SURVEY: dict[str, Any] = {
    "distribution": "debian", "version": "13", "architecture": "x86_64", "systemd": True, "disk_free_gb": 100,
    "asked_at": NOW.timestamp(), "epoch": NOW.timestamp(), "listeners": [],
}  # fmt: skip
WEB: dict[str, Any] = {"platform_domain": "d.example", "ansible_host": "192.0.2.21", "platform_public_url": "https://d.example"}


def measured(**survey: Any) -> dict[str, Any]:
    """What the module host_capacity answered."""
    return {"ansible_facts": {"host_capacity": CAPACITY, "host_survey": {**SURVEY, **survey}}}


def test_ansible_finds_the_filter_under_its_name() -> None:
    assert FilterModule().filters() == {"preflight_report": preflight_report}


class CapturedExceptionMarker:
    """Named like what Ansible 2.19 gives for a variable that cannot be templated."""


class Broken(dict[str, Any]):
    """Variables that cannot be looked at, like those of a vault without its password."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError


class Counted(dict[str, Any]):
    """Counts how often a host's variables are gathered."""

    def __init__(self, hosts: dict[str, Any]) -> None:
        super().__init__(hosts)
        self.gathered: Counter[str] = Counter()

    def __getitem__(self, host: str) -> Any:
        self.gathered[host] += 1
        return super().__getitem__(host)


def test_what_is_undefined_or_broken_is_not_there() -> None:
    variables = Variables({"web1": {"a": 1, "b": Undefined(), "c": CapturedExceptionMarker(), "d": None}, "web2": Broken()})
    assert [variables.get("web1", name) for name in "abcde"] == [1, None, None, None, None]
    assert (variables.get("web2", "a"), variables.get("web3", "a")) == (None, None)
    assert (variables.names("web1"), variables.names("web2"), variables.names("web3")) == ({"a", "b", "c", "d"}, set(), set())


def test_variables_of_a_host_are_gathered_once() -> None:
    hosts = Counted({"web1": {"a": 1}, "web2": {"a": 2}})
    variables = Variables(hosts)
    assert [variables.get(host, "a") for host in ("web1", "web2", "web1")] == [1, 2, 1]
    assert hosts.gathered == {"web1": 1, "web2": 1}


def test_names_are_known_from_specs_defaults_group_vars_and_tasks(tmp_path: Path) -> None:
    files = {
        "roles/redis/meta/argument_specs.yml": "redis_listen_port: {type: int}",
        "roles/redis/defaults/main.yml": "redis_settings: {}",
        "group_vars/all/redis.yml": "x: \"{{ redis_memory_mb | default('no_limit') }}\"",
        "playbooks/site.yml": "- {hosts: all, vars: {site_name_2: x}}",
        "roles/redis/tasks/main.yml": "not_looked_at: 1",
        "roles/redis/meta/main.yml": "galaxy_info: {}",
        "playbooks/README.md": "also_not_looked_at",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert known_names(tmp_path) == {"redis_listen_port", "redis_settings", "redis_memory_mb", "no_limit", "site_name_2"}


def test_an_inventory_of_one_host_is_judged_by_it() -> None:
    groups = {"all": ["one"], "lb": ["one"]}
    variables = Variables({"one": {**WEB, "platform_virtual_address": "192.0.2.21", "platform_public_url": "https://e.example"}})
    found = list(inventory_problems(groups, variables, ()))
    assert "platform_virtual_address 192.0.2.21 is the address of one, but must be free; choose another of the balancers' network" in found
    assert found[-1] == "platform_public_url is 'https://e.example', but the certificate is for d.example; write https://d.example"


def test_several_balancers_need_an_address_that_they_share() -> None:
    groups = {"all": ["lb1", "lb2"], "lb": ["lb1", "lb2"]}
    found = list(inventory_problems(groups, Variables({"lb1": WEB, "lb2": WEB}), ()))
    assert any(problem.startswith("platform_virtual_address is not set, but lb1 and lb2 share one address") for problem in found)


def test_an_inventory_without_hosts_lacks_its_groups_only() -> None:
    assert all(" has no host, but the platform needs at least one" in problem for problem in inventory_problems({}, Variables({}), ()))
    assert list(variable_problems([], Variables({}), Path(), NOW)) == []


def test_a_group_that_only_groups_hosts_is_allowed_when_it_is_named() -> None:
    groups = {"all": ["one"], "rack1": ["one"]}

    def unknown(extra: list[str]) -> list[str]:
        found = inventory_problems(groups, Variables({"one": WEB}), extra)
        return [problem for problem in found if "is unknown" in problem]

    assert len(unknown([])) == 1
    assert unknown(["rack1"]) == []


def variable_findings(tmp_path: Path, hosts: dict[str, dict[str, Any]]) -> list[str]:
    """What is found besides secrets that are missing."""
    (tmp_path / "group_vars").mkdir(exist_ok=True)
    (tmp_path / "group_vars" / "all.yml").write_text("redis_listen_port: 6379")
    found = variable_problems(list(hosts), Variables(hosts), tmp_path, NOW)
    return [problem for problem in found if not problem.startswith("secret ")]


def test_each_authority_is_whole_and_valid(tmp_path: Path) -> None:
    authorities = {**secrets()["pki_authorities"], "patroni": {"certificate": "x"}}
    authorities["redis"] = {**authorities["redis"], "certificate": certificate("old CA", 2020, 2020)}
    hosts = {"one": {"pki_authorities": authorities}}
    assert variable_findings(tmp_path, hosts) == ["pki_authorities.redis has expired on 2020-12-31; renew it"]
    found = list(variable_problems(["one"], Variables(hosts), tmp_path, NOW))
    assert "secret pki_authorities (patroni) is missing; run bin/secrets INVENTORY, which generates what lacks" in found


def test_one_host_alone_has_variables_too(tmp_path: Path) -> None:
    bought = {"nginx_certificate_source": "bought", "nginx_certificate_chain": {"x": 1}, "nginx_certificate_key": "x"}
    assert variable_findings(tmp_path, {"one": {"redis_listen_prot": 1, "pki_ca_certificate": "x", **bought}}) == [
        "pki_ca_certificate is no PEM certificate; put the whole file there, from BEGIN CERTIFICATE to END CERTIFICATE",
        "nginx_certificate_chain is no PEM certificate; put the whole file there, from BEGIN CERTIFICATE to END CERTIFICATE",
        "variable redis_listen_prot of one is read by nothing, but looks like redis_listen_port; rename it",
    ]


def test_a_mistyped_variable_is_named_with_its_host_when_it_is_alone(tmp_path: Path) -> None:
    typo = {"redis_listen_prot": 1}
    words = "is read by nothing, but looks like redis_listen_port; rename it"
    assert variable_findings(tmp_path, {"one": {}, "two": typo}) == [f"variable redis_listen_prot of two {words}"]
    assert variable_findings(tmp_path, {"one": typo, "two": typo}) == [f"variable redis_listen_prot {words}"]


@pytest.mark.parametrize(
    ("name", "key", "meant"),
    [
        ("app_settings", "worker", "workers"),
        ("celery_settings", "concurency", "concurrency"),
        ("pgbouncer_settings", "default_pool_sise", "default_pool_size"),
        ("postgres_settings", "max_connection", "max_connections"),
        ("redis_settings", "maxmemory_polcy", "maxmemory_policy"),
        ("nginx_settings", "worker_connection", "worker_connections"),
    ],
)
def test_a_mistyped_setting_of_any_host_is_named(tmp_path: Path, name: str, key: str, meant: str) -> None:
    found = variable_findings(tmp_path, {"one": {}, "two": {name: {key: 1}}})
    assert f"{name}.{key} looks like {meant}; rename it" in [problem.replace("-", "_") for problem in found]


def test_what_the_application_gets_when_nobody_says_otherwise() -> None:
    assert application_environment("web1", Variables({"web1": WEB})) == {
        "DEBUG": "0",
        "ALLOWED_HOSTS": "d.example,192.0.2.21",
        "CSRF_TRUSTED_ORIGINS": "https://d.example",
        "BASE_URL": "https://d.example",
        "DJANGO_SETTINGS_MODULE": "obcms.settings",
        "LOG_LEVEL": "INFO",
        "ADMIN_IP_WHITELIST": "",
        "DEFAULT_FROM_EMAIL": "noreply@d.example",
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": "25",
    }


def test_what_is_said_goes_before_it() -> None:
    said = {
        "runtime_allowed_hosts": ["a.example", "b.example"],
        "runtime_public_url": "https://a.example",
        "runtime_settings_module": "own.settings",
        "runtime_log_level": "DEBUG",
        "runtime_admin_networks": ("192.0.2.0/24", "198.51.100.0/24"),
        "runtime_mail": {"EMAIL_HOST": "mail.example", "EMAIL_PORT": 587},
        "runtime_environment": {"BASE_URL": "https://b.example", "FLAGS": [1, 2], "RETRIES": 0, "NOTHING": None},
    }
    assert application_environment("web1", Variables({"web1": {**WEB, **said}})) == {
        "DEBUG": "0",
        "ALLOWED_HOSTS": "a.example,b.example",
        "CSRF_TRUSTED_ORIGINS": "https://a.example",
        "BASE_URL": "https://b.example",
        "DJANGO_SETTINGS_MODULE": "own.settings",
        "LOG_LEVEL": "DEBUG",
        "ADMIN_IP_WHITELIST": "192.0.2.0/24,198.51.100.0/24",
        "DEFAULT_FROM_EMAIL": "noreply@d.example",
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "mail.example",
        "EMAIL_PORT": "587",
        "FLAGS": "1,2",
        "RETRIES": "0",
        "NOTHING": "",
    }


def test_no_name_at_all_is_not_the_same_as_none_said() -> None:
    assert application_environment("web1", Variables({"web1": {**WEB, "runtime_allowed_hosts": []}}))["ALLOWED_HOSTS"] == ""


@pytest.mark.parametrize(
    ("said", "variable"),
    [
        ({"runtime_log_level": "loud"}, "runtime_log_level"),
        ({"runtime_environment": {"LOG_LEVEL": "loud"}}, "runtime_environment.LOG_LEVEL"),
        ({"runtime_mail": {"EMAIL_PORT": "many"}}, "runtime_mail.EMAIL_PORT"),
        ({"runtime_mail": {"LOG_LEVEL": "loud"}}, "runtime_mail.LOG_LEVEL"),
        ({"runtime_environment": {"EMAIL_PORT": "many"}}, "runtime_environment.EMAIL_PORT"),
        ({"runtime_environment": {"DEBUG": "1"}}, "runtime_environment.DEBUG"),
        ({"runtime_allowed_hosts": []}, "runtime_allowed_hosts"),
        ({"platform_public_url": "d.example"}, "platform_public_url"),
    ],
)
def test_a_wrong_value_is_named_with_the_variable_in_which_it_is_set(said: dict[str, Any], variable: str) -> None:
    found = list(application_problems("web1", Variables({"web1": {**WEB, **said}})))
    assert found
    assert {problem.split(": ")[0] for problem in found} == {variable}


def test_every_host_that_was_measured_is_judged_whatever_the_others_said() -> None:
    hosts = {
        "left-out": {},
        "lost": {"ansible_host": "192.0.2.1", "__preflight_measured": {"unreachable": True, "msg": "no route"}},
        "odd": {"__preflight_measured": {"ansible_facts": None}},
        "db1": {"__preflight_measured": measured(version="12", disk_free_gb=4, epoch=NOW.timestamp() + 60)},
        "db2": {"__preflight_measured": measured(listeners=[{"port": 5432, "owner": "mysql.service"}])},
        "web1": {"__preflight_measured": measured(disk_free_gb=4)},
    }
    groups = {"all": list(hosts), "postgres": ["db1", "db2"], "app": ["web1"]}
    assert [problem.split(";")[0] for problem in measured_problems(groups, Variables(hosts), NOW)] == [
        "host lost (192.0.2.1) cannot be reached: no route",
        "host db1 runs debian 12, but the roles are for Debian 13",
        "host db1 has 4 GB free below /var/lib, but 5 GB are needed",
        "clock of db1 is 60 s ahead of this machine's, but 5 s are allowed",
        "port 5432 of db2 is held by mysql.service, but patroni needs it",
    ]
    assert list(measured_problems({}, Variables(hosts), NOW)) == []


def test_a_capacity_is_measured_or_cached_or_declared() -> None:
    declared = {**CAPACITY, "vcpus": 4}
    hosts = {
        "fresh": {"__preflight_measured": measured(), "host_capacity": declared},
        "lost": {"__preflight_measured": {"unreachable": True}, "host_capacity": declared},
        "cached": {"host_capacity": declared},
        "wrong": {"host_capacity": "large"},
        "unknown": {},
    }
    assert capacities_of({"all": list(hosts)}, Variables(hosts)) == {"fresh": CAPACITY, "lost": declared, "cached": declared}
    assert capacities_of({}, Variables(hosts)) == {}


FLEET = {"all": ["web1", "worker1", "db1", "mon1"], "app": ["web1"], "celery": ["worker1"], "postgres": ["db1"], "monitoring": ["mon1"]}


def test_overrides_of_a_host_count_in_the_budget() -> None:
    hosts: dict[str, dict[str, Any]] = {host: {"host_capacity": CAPACITY} for host in FLEET["all"]}
    budget, problems = budget_of(FLEET, Variables(hosts))
    assert (problems, budget["ok"]) == ([], True)
    hosts["web1"]["pgbouncer_settings"] = {"max_client_conn": 3}
    budget, problems = budget_of(FLEET, Variables(hosts))
    assert len(problems) == 1
    assert problems[0].startswith("connection_budget: web1 opens ")
    assert problems == budget["problems"]


def test_connections_that_are_kept_from_poolers_leave_them_smaller_pools() -> None:
    def given_out(**said: int) -> int:
        hosts = {host: {"host_capacity": CAPACITY, **said} for host in FLEET["all"]}
        return next(row["count"] for row in budget_of(FLEET, Variables(hosts))[0]["rows"] if row["tier"] == "connections")

    assert given_out(pgbouncer_reserved_connections=400) < given_out()


def test_a_host_too_small_for_its_services_has_no_budget() -> None:
    hosts = {host: {"host_capacity": {**CAPACITY, "memory_mb": 100 if host == "db1" else 16384}} for host in FLEET["all"]}
    budget, problems = budget_of(FLEET, Variables(hosts))
    assert problems == ["db1: postgres_sizing: the host has 100 MB of memory, but at least 512 MB are needed; give it 512 MB or more"]
    assert budget["rows"] == []


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (["mon1"], []),
        (["web1"], ["web1"]),
        (["worker1", "web1", "db1"], ["db1, web1 and worker1"]),
    ],
)
def test_a_budget_without_a_capacity_says_that_it_is_not_complete(unknown: list[str], said: list[str]) -> None:
    hosts = {host: {} if host in unknown else {"host_capacity": CAPACITY} for host in FLEET["all"]}
    _, problems = budget_of(FLEET, Variables(hosts))
    assert [problem for problem in problems if "capacity of" in problem] == [
        f"capacity of {names} is unknown, so the connection budget is not complete; "
        "run playbooks/preflight.yml once without --limit, or declare host_capacity"
        for names in said
    ]
    # A host that was asked in vain has a problem of its own.
    lost = {host: {"__preflight_measured": {"unreachable": True}} if host in unknown else {"host_capacity": CAPACITY} for host in FLEET["all"]}
    assert not [problem for problem in budget_of(FLEET, Variables(lost))[1] if "capacity of" in problem]


def row(tier: str, host: str, count: int, limit: int, unit: str = "connections") -> dict[str, Any]:
    return {"tier": tier, "host": host, "what": "6 x 80", "count": count, "limit": limit, "unit": unit}


def test_the_table_goes_tier_by_tier_with_hosts_of_the_same_sum_on_one_line() -> None:
    rows = [
        row("memory", "db1", 9, 8, "MB"),
        row("clients", "web1", 68, 1000),
        row("clients", "web2", 68, 1000),
        row("clients", "web3", 68, 900),
        row("connections", "db1", 480, 480),
    ]
    assert budget_table({"rows": rows}) == [
        "Clients of the pooler on the same host",
        "  web1 and web2: 6 x 80 = 68 of 1000 connections, 932 left",
        "  web3: 6 x 80 = 68 of 900 connections, 832 left",
        "All pools on one database host, less reserved slots",
        "  db1: 6 x 80 = 480 of 480 connections, 0 left",
        "Memory of each database host",
        "  db1: 6 x 80 = 9 of 8 MB, 1 TOO MANY",
    ]


MOAS = "code,name,type,wave,users\nAAA,First,ministry,1,20\nBBB,Second,office,2,300\n"
CALENDAR = "wave,start,days,coordinator,soak_minutes\n1,2027-01-04,14,Amina,30\n2,2027-01-18,14,Omar,\n"
TWO = {"app": ["web1", "web2"]}
SHOWN = ["Rollout", "  2 waves, 2 MOAs, 320 users of 550 the fleet carries"]
EXAMPLE = "  waves.csv says that its dates are EXAMPLES: no wave starts before they are agreed on and that line is removed"
TOO_MANY = "moas.csv plans 320 users, but {} = {}; add application hosts, or raise rollout_users_per_host after a load test"


@pytest.mark.parametrize(
    ("plan", "groups", "per_host", "lines", "problems"),
    [
        ({}, TWO, None, [], []),
        ({"moas": None, "calendar": None}, TWO, None, [], []),
        ({"moas": " \n", "calendar": CALENDAR}, TWO, None, [], []),
        ({"moas": MOAS}, TWO, None, SHOWN, []),
        ({"moas": MOAS, "calendar": CALENDAR}, TWO, None, SHOWN, []),
        ({"moas": MOAS, "calendar": "# Example dates\n" + CALENDAR}, TWO, None, [*SHOWN, EXAMPLE], []),
        ({"moas": MOAS, "calendar": CALENDAR.replace("Amina", "")}, TWO, None, [], ["waves.csv line 2: wave 1 has no coordinator; name one"]),
        ({"moas": MOAS}, {"app": ["web1"]}, None, [], [TOO_MANY.format("1 application hosts x 275 users", 275)]),
        ({"moas": MOAS}, TWO, "100", [], [TOO_MANY.format("2 application hosts x 100 users", 200)]),
        ({"moas": MOAS}, {"app": ["web1"]}, 320, ["Rollout", "  2 waves, 2 MOAs, 320 users of 320 the fleet carries"], []),
        ({"moas": MOAS}, {}, None, ["Rollout", "  2 waves, 2 MOAs, 320 users of 0 the fleet carries"], []),
    ],
)
def test_the_rollout_in_a_line(plan: dict[str, Any], groups: dict[str, list[str]], per_host: Any, lines: list[str], problems: list[str]) -> None:
    variables = Variables({"web1": {} if per_host is None else {"rollout_users_per_host": per_host}, "web2": {}})
    assert plan_of(groups, variables, plan) == (lines, problems)


def test_the_report_has_every_part_and_says_nothing_twice(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {**WEB, "host_capacity": CAPACITY, "runtime_log_level": "loud", "app_settings": 5}
    hosts = {
        "web1": {**wrong, "__preflight_measured": measured(version="12")},
        "web2": {**wrong, "ansible_host": "192.0.2.22", "runtime_environment": {"DEBUG": "1"}, "pgbouncer_settings": {"max_client_conn": 3}},
        "db1": {**wrong, "ansible_host": "192.0.2.41"},
    }
    groups = {"all": list(hosts), "app": ["web1", "web2"], "postgres": ["db1"], "rack1": []}
    found = preflight_report(groups, hosts, str(tmp_path), ["rack1"], NOW, {"moas": MOAS, "calendar": CALENDAR.replace("Amina", "")})
    problems = [problem for problem in found["problems"] if "is missing; run bin/secrets" not in problem and "has no host" not in problem]
    assert [problem.partition(";")[0] for problem in problems] == [
        "app_settings is 5, but must be a dict of settings",
        "host web1 runs debian 12, but the roles are for Debian 13",
        "runtime_log_level: LOG_LEVEL is 'loud', but must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
        "connection_budget: web2 opens 17 workers x 2 threads x 2 databases = 68 connections, but its PgBouncer takes 3 clients",
        "waves.csv line 2: wave 1 has no coordinator",
    ]
    assert found["headroom"] == {"clients": -65, "connections": 270, "memory_mb": 4288}
    assert found["table"][2] == "  web2: 17 workers x 2 threads x 2 databases = 68 of 3 connections, 65 TOO MANY"
    assert preflight_report(groups, hosts, str(tmp_path), plan={"moas": MOAS})["table"] == [*found["table"], *SHOWN]


def test_without_a_moment_it_is_now(tmp_path: Path) -> None:
    late = datetime.datetime.now(datetime.UTC).timestamp() + 90
    last = certificate("old CA", 2020, 2020)
    hosts = {"web1": {**WEB, "pki_ca_certificate": last, "__preflight_measured": measured(asked_at=late - 90, epoch=late)}}
    problems = preflight_report({"all": ["web1"], "app": ["web1"]}, hosts, str(tmp_path))["problems"]
    assert "pki_ca_certificate has expired on 2020-12-31; renew it" in problems
    assert [problem for problem in problems if problem.startswith("clock of web1 is ")]
