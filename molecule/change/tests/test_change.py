"""Three keepers on real hosts: what they write down, and what a change does when they are lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, wait
from testinfra.host import Host

Hosts = dict[str, Host]
SCENARIO = Path(__file__).parents[1]
DIRECTORY = "/var/lib/obcms/changes"


def change(subject: str, *options: str, good: bool = True, **extra: Any) -> str:
    """What a run of change.yml says, as one line."""
    inventories = [os.environ["MOLECULE_INVENTORY_FILE"], str(SCENARIO.parent / "shared" / "inventory")]
    command = ["ansible-playbook", *(word for path in inventories for word in ("-i", path)), str(SCENARIO / "change.yml")]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        [*command, "-e", json.dumps({"subject": subject, **extra}), *options], env=environment, capture_output=True, text=True, check=False
    )
    text = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) == good, text
    return text


def record(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.check_output(f"cat {DIRECTORY}/record.jsonl").splitlines()]


def holders(hosts: Hosts) -> list[str]:
    return [name for name, host in hosts.items() if host.file(f"{DIRECTORY}/lock.json").exists]


@contextmanager
def lost(hosts: Hosts, *names: str) -> Iterator[None]:
    """These hosts are gone meanwhile."""
    containers = [f"{PROJECT}-{name}" for name in names]
    subprocess.run(["docker", "kill", *containers], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "start", *containers], check=True, capture_output=True)
        wait(lambda: all(hosts[name].run("systemctl is-active ssh.service").rc == 0 for name in names), 60, f"{', '.join(names)} back")


@pytest.fixture(autouse=True)
def _from_nothing(hosts: Hosts) -> None:
    for host in hosts.values():
        host.check_output(f"rm -rf {DIRECTORY}")


def test_a_change_leaves_the_same_lines_on_every_keeper_and_no_lock(hosts: Hosts) -> None:
    change("1.1.0", reason="monthly release")
    lines = record(hosts["db1"])
    assert [line["phase"] for line in lines] == ["started", "canary", "closed"]
    assert (lines[0]["reason"], lines[0]["before"], lines[0]["after"]) == ("monthly release", "1.0.0", "1.1.0")
    assert lines == record(hosts["db2"]) == record(hosts["db3"])
    assert holders(hosts) == []
    # The record is for root only.
    for host in hosts.values():
        assert (host.file(DIRECTORY).user, host.file(DIRECTORY).mode & 0o007) == ("root", 0)
        host.run_expect([1], f"runuser -u nobody -- cat {DIRECTORY}/record.jsonl")


def test_check_mode_writes_nothing(hosts: Hosts) -> None:
    change("1.1.0", "--check")
    assert [name for name, host in hosts.items() if host.file(DIRECTORY).exists] == []


def test_a_second_change_waits_for_the_first_which_is_taken_up_again(hosts: Hosts) -> None:
    change("1.1.0", good=False, cut_off=True)
    assert holders(hosts) == ["db1", "db2", "db3"]
    assert "deploy 1.2.0 does not start, nothing was changed: under way is deploy 1.1.0" in change("1.2.0", good=False)
    change("1.1.0", resume=True)
    assert [line["phase"] for line in record(hosts["db1"])] == ["started", "canary", "resumed", "canary", "closed"]
    assert holders(hosts) == []


def test_one_host_lost_does_not_stop_a_change_and_is_caught_up(hosts: Hosts) -> None:
    change("1.1.0")
    with lost(hosts, "db2"):
        assert "keeper db2 does not answer" in change("1.2.0")
    assert len(record(hosts["db2"])) == 3
    change("1.3.0")
    assert len(record(hosts["db2"])) == 9
    assert record(hosts["db1"]) == record(hosts["db2"]) == record(hosts["db3"])
    assert holders(hosts) == []


def test_two_hosts_lost_stop_a_change_before_it_starts(hosts: Hosts) -> None:
    change("1.1.0")
    with lost(hosts, "db2", "db3"):
        assert "1 of 3 keepers have a whole record, 2 are needed" in change("1.2.0", good=False)
    assert [len(record(host)) for host in hosts.values()] == [3, 3, 3]
    assert holders(hosts) == []


def test_a_line_that_was_changed_is_found(hosts: Hosts) -> None:
    change("1.1.0")
    hosts["db3"].check_output(f"sed -i '2s/answers/is silent/' {DIRECTORY}/record.jsonl")
    assert "line 2 was changed after it was written" in change("1.2.0")
