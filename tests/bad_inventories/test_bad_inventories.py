"""Each broken inventory gives its one message, and a good one none. No host is reached."""

from __future__ import annotations

import datetime
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from broken_inventory import CASES, PROJECT, secrets, write_inventory

import host_rules
from inventory_reader import read_inventory
from inventory_rules import AUTHORITIES, SECRET_LENGTHS
from preflight_report import preflight_report


class Kept:
    """Hosts' variables as Ansible gives them, each asked for once."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.known:
            value = self.source[name]
            self.known[name] = Kept(value) if type(value).__name__ == "HostVarsVars" else value
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.source)


@functools.cache
def read(case: str) -> tuple[dict[str, list[str]], Kept, float, Any]:
    """Groups and variables of a case, and when its hosts were measured.

    Read once: where faults are tried by the thousand, reading is all the work. Ansible reads on in the folder.
    """
    folder, now = tempfile.TemporaryDirectory(), time.time()
    inventory = read_inventory(write_inventory(yaml.safe_load(case), Path(folder.name) / "inventory", now), PROJECT)
    return inventory.groups, Kept(inventory.hostvars), now, folder


def report(case: dict[str, Any]) -> dict[str, Any]:
    """What preflight says at the moment at which the hosts were measured, however long ago that is."""
    groups, variables, now, _ = read(yaml.safe_dump(case))
    return preflight_report(groups, variables, project=str(PROJECT), now=datetime.datetime.fromtimestamp(now, datetime.UTC))


def test_a_good_inventory_has_no_problem_and_a_budget() -> None:
    found = report({})
    assert found["problems"] == []
    assert found["headroom"] == {"clients": 932, "connections": 0, "memory_mb": 4288}
    assert found["table"] == [
        "Clients of the pooler on the same host",
        "  web1, web2, web3 and web4: 17 workers x 2 threads x 2 databases = 68 of 1000 connections, 932 left",
        "  worker1 and worker2: (16 processes + parent and beat) x 2 databases = 36 of 1000 connections, 964 left",
        "Server connections of each pooler",
        "  web1, web2, web3, web4, worker1 and worker2: leader 55 + replica 25 = 80 of 80 connections, 0 left",
        "All pools on one database host, less reserved slots",
        "  db1, db2 and db3: 6 poolers x 80 = 480 of 480 connections, 0 left",
        "Memory of each database host",
        "  db1, db2 and db3: 500 connections x 16MB + 4096MB shared = 12096 of 16384 MB, 4288 left",
    ]


def test_preflight_asks_for_every_secret_that_bin_secrets_makes() -> None:
    assert {*SECRET_LENGTHS, "pki_authorities"} == set(secrets())
    assert set(AUTHORITIES) == set(secrets()["pki_authorities"])


def test_preflight_looks_at_every_port_of_the_platform() -> None:
    ports = yaml.safe_load((PROJECT / "group_vars/all/ports.yml").read_text())["platform_ports"]
    outside = {"dns", "ntp", "smtp", "submission", "submissions", "offsite", "nfs"}
    # Where Ansible comes in; whoever holds that port has answered.
    outside.add("ssh")
    assert {number for name, number in ports.items() if name not in outside} <= set(host_rules.ports_of(host_rules.PORTS))


@pytest.mark.parametrize("chain", [["site", "middle"], ["site", "middle", "root"]])
def test_a_bought_certificate_of_the_right_name_is_no_problem(chain: list[str]) -> None:
    assert report({"bought": {"chain": chain}})["problems"] == []


def test_a_certificate_that_signed_itself_is_known_to_nobody() -> None:
    problems = report({"bought": {"chain": ["own site"], "key": "own site"}})["problems"]
    assert problems == [
        "nginx_certificate_chain ends with CN=obcms.barmm.gov.ph, whose issuer CN=obcms.barmm.gov.ph browsers do not know; append the certificate "
        "of that issuer, or add an authority of your own to base_ca_certificates"
    ]


def test_there_are_forty_cases_at_least() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_one_thing_wrong_gives_one_message(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    assert report(case)["problems"] == [case["message"]]


def test_all_problems_come_at_once_and_no_secret_is_shown() -> None:
    case = {
        "groups": {"etcd": ["redis1", "redis2"]},
        "vars": {"postgres_app_password": "Geheim12", "runtime_allowed_hosts": ["*"], "pgbouncer_settings": {"default_pool_size": 400}},
        "measured": {"db1": {"version": "12"}, "db2": {"disk_free_gb": 0}},
    }
    problems = report(case)["problems"]
    assert len(problems) == 7
    text = "\n".join(problems)
    assert "Geheim12" not in text
    assert not [name for name, value in secrets().items() if str(value) in text]


def test_hosts_that_were_not_measured_are_not_judged() -> None:
    case = {"vars": {"host_capacity": {"vcpus": 8, "memory_mb": 16384, "disk_gb": 160}}, "measured": dict.fromkeys(["web1", "db1"])}
    assert report(case)["problems"] == []


def preflight(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The playbook itself, without the tasks that reach hosts."""
    skipped = ["--skip-tags", "preflight_measure,preflight_notice"]
    command = [Path(sys.executable).with_name("ansible-playbook"), "playbooks/preflight.yml", "-i", inventory, *skipped]
    return subprocess.run([*map(str, command), *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_playbook_passes_a_good_inventory_and_prints_the_budget(tmp_path: Path) -> None:
    done = preflight(write_inventory({}, tmp_path / "inventory"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "480 of 480" in " ".join(done.stdout.split())


def test_the_playbook_stops_and_prints_every_problem(tmp_path: Path) -> None:
    case = {"groups": {"etcd": ["redis1", "redis2"], "apps": ["web1"]}, "vars": {"redis_app_password": None}}
    done = preflight(write_inventory(case, tmp_path / "inventory"))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "3 problem(s), nothing was changed" in said
    for part in ("group apps is unknown", "group etcd has 2 hosts (redis1 and redis2)", "secret redis_app_password is missing"):
        assert part in said


def test_a_group_of_peoples_own_is_allowed_when_it_is_declared(tmp_path: Path) -> None:
    inventory = write_inventory({"groups": {"rack1": ["web1"]}, "vars": {"preflight_extra_groups": ["rack1"]}}, tmp_path / "inventory")
    assert preflight(inventory).returncode == 0
