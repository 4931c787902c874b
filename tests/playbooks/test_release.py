"""A release end to end, with its lock, gates, batches and ways back: hosts are directories of this machine, the application is a stand-in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import run_playbook

PROJECT = Path(__file__).resolve().parents[2]
GATES = ["leader", "ready", "connections_percent", "replication_lag_seconds", "critical_alerts"]
GONE = {"ansible_connection": "ssh", "ansible_host": "127.255.255.1", "ansible_port": 9, "ansible_ssh_retries": 0}


class Fleet:
    """An inventory whose hosts are all this machine, so many of each kind, each with releases 1.0.0 (current) and 1.1.0."""

    def __init__(self, place: Path, web: int = 2, workers: int = 1, keepers: int = 1) -> None:
        self.place, inventory = place, place / "inventory"
        self.cache = place / "cache"
        kinds = {"web": web, "worker": workers, "db": keepers}
        self.web, self.workers, self.keepers = ([f"{kind}{number + 1}" for number in range(many)] for kind, many in kinds.items())
        groups = {"app": self.web, "celery": self.workers, "postgres": self.keepers}
        children = {group: {"hosts": {name: {"ansible_host": "127.0.0.1"} for name in names}} for group, names in groups.items()}
        for folder in ("group_vars", "host_vars"):
            (inventory / folder).mkdir(parents=True)
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))
        local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump(local))
        self.cache.mkdir()
        for version in ("1.0.0", "1.1.0"):
            for kind in ("tar.gz", "static.tar.gz"):
                (self.cache / f"{version}.{kind}").write_text(version)
            digest = hashlib.sha256(version.encode()).hexdigest()
            (self.cache / f"{version}.sha256").write_text(f"{digest}  {version}.tar.gz\n{digest}  {version}.static.tar.gz\n")
        for host in self.web + self.workers:
            self.keep(host, "1.0.0", "1.1.0")
            (place / host / "opt" / "current").symlink_to("releases/1.0.0")

    def keep(self, host: str, *versions: str) -> None:
        for folder in ("opt/releases", "opt/archives", "state"):
            (self.place / host / folder).mkdir(parents=True, exist_ok=True)
        for version in versions:
            release = self.place / host / "opt" / "releases" / version
            release.mkdir(exist_ok=True)
            (release / ".archive.sha256").write_text(hashlib.sha256(version.encode()).hexdigest() + "\n")

    def stand_on(self, version: str) -> None:
        """As if this release, which is on each host, had been deployed."""
        for host in self.web + self.workers:
            current = self.place / host / "opt" / "current"
            current.unlink()
            current.symlink_to(f"releases/{version}")

    def trouble(self, **found: Any) -> None:
        (self.place / "trouble.json").write_text(json.dumps({name.replace("_", " "): text for name, text in found.items()}))

    def lose(self, host: str) -> None:
        (self.place / "inventory" / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(GONE))

    def run(self, way: str = "deploy", good: bool = True, **extra: Any) -> str:
        place = str(self.place)
        tool = [sys.executable, str(PROJECT / "tests/playbooks/release/stand_in.py"), place]
        given = {
            "way": way,
            "app_version": "1.1.0",
            "change_directory": place + "/{{ (item | default({'name': 'x'})).name }}",
            "release_skip_gates": GATES,
            "release_canary_seconds": 0,
            "release_watch_seconds": 0,
            "release_settle_seconds": 0,
            "__release_root": place + "/{{ inventory_hostname }}/opt",
            "__release_state": place + "/{{ inventory_hostname }}/state",
            "__release_cache": str(self.cache),
            "__release_run": [*tool, "switch"],
            "__release_ask": [*tool, "switch"],
            "__release_tool": place + "/{{ inventory_hostname }}/tool",
            "__release_judge": place + "/{{ inventory_hostname }}/judge",
            "__release_manage": str(self.place / "manage"),
            "__release_migrator": str(self.place / "migrate"),
            **extra,
        }
        for name in ("manage", "migrate"):
            (self.place / name).write_text(f'#!/bin/sh\nexec {" ".join(tool)} {name} "$@"\n')
            (self.place / name).chmod(0o755)
        return run_playbook("tests/playbooks/release/release.yml", f"{place}/inventory", given, good)

    def versions(self) -> dict[str, str]:
        return {host: os.readlink(self.place / host / "opt" / "current").removeprefix("releases/") for host in self.web + self.workers}

    def happened(self) -> list[str]:
        path = self.place / "happened"
        return path.read_text().splitlines() if path.exists() else []

    def record(self, host: str = "db1") -> list[dict[str, Any]]:
        path = self.place / host / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def locks(self) -> list[str]:
        return [host for host in self.keepers if (self.place / host / "lock.json").exists()]


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Fleet:
    return Fleet(tmp_path, *getattr(request, "param", ()))


# Each host costs seconds of every release: most tests have three, and say where they need more.
many = pytest.mark.parametrize("fleet", [(4, 2, 3)], indirect=True, ids=["many"])
two_workers = pytest.mark.parametrize("fleet", [(1, 2)], indirect=True, ids=["two-workers"])
three_web_hosts = pytest.mark.parametrize("fleet", [(3, 2)], indirect=True, ids=["three-web-hosts"])
three_keepers = pytest.mark.parametrize("fleet", [(2, 1, 3)], indirect=True, ids=["three-keepers"])


@many
def test_a_release_goes_in_batches_and_is_written_down(fleet: Fleet) -> None:
    text = fleet.run(reason="monthly release")
    assert set(fleet.versions().values()) == {"1.1.0"}
    assert fleet.happened()[0] == "migrate 1.1.0"
    assert [line.split()[2] for line in fleet.happened()[1:3]] == ["web1", "web2"]
    assert sorted(line.split()[2] for line in fleet.happened()[3:5]) == ["web3", "web4"]
    assert [line.split()[1:3] for line in fleet.happened()[5:]] == [["worker", "worker1"], ["worker", "worker2"]]
    lines = fleet.record()
    assert [line["phase"] for line in lines if "seconds" in line] == ["gates", "prepare", "migrate", "canary", "batch 2", "batch 3", "workers"]
    assert (lines[0]["before"], lines[0]["after"], lines[0]["reason"]) == ("1.0.0", "1.1.0", "monthly release")
    assert lines[-1]["result"] == "done"
    assert {line["gate"] for line in lines if line["phase"] == "canary" and "gate" in line} == {"probe", "requests"}
    assert "too few requests to compare" in text
    assert fleet.locks() == []


def test_a_closed_gate_stops_before_anything_moves(fleet: Fleet) -> None:
    text = fleet.run(good=False, release_skip_gates=GATES[1:])
    assert "no answer from Patroni" in text
    assert fleet.happened() == []
    assert fleet.record()[-1]["result"] == "failed"
    assert fleet.locks() == []
    assert "in release_skip_gates is no gate; the gates are leader, ready" in fleet.run(good=False, release_skip_gates=["leadr"])
    assert fleet.locks() == []


@three_web_hosts
def test_a_batch_that_fails_goes_back_with_those_before_it_and_the_rest_is_not_touched(fleet: Fleet) -> None:
    fleet.trouble(web2="ready")
    text = fleet.run(good=False)
    assert set(fleet.versions().values()) == {"1.0.0"}
    assert [line for line in fleet.happened() if "web3" in line or "worker" in line] == []
    assert "deploy web web1 1.1.0" in fleet.happened()
    assert "take_back web web1 1.0.0" in fleet.happened()
    assert "stopped in phase batch 2. web2 gate ready: ready did not hold Traceback of the release" in text
    assert "Not touched: web3, worker1, worker2" in text
    assert fleet.record()[-1]["result"] == "taken_back"
    assert fleet.locks() == []


@two_workers
def test_a_worker_that_fails_takes_everybody_back(fleet: Fleet) -> None:
    fleet.trouble(worker2="start")
    fleet.run(good=False)
    assert set(fleet.versions().values()) == {"1.0.0"}
    assert fleet.locks() == []


def test_a_host_that_does_not_come_back_is_named(fleet: Fleet) -> None:
    fleet.trouble(web2="ready", back_web1="start")
    text = fleet.run(good=False)
    assert "NOT BACK: web1: start did not hold" in text
    assert fleet.record()[-1]["result"] == "incomplete"
    assert fleet.locks() == []


def test_a_migration_that_fails_stops_before_hosts_change(fleet: Fleet) -> None:
    fleet.trouble(migrate="the column is there already")
    text = fleet.run(good=False)
    assert "the column is there already" in text
    assert fleet.happened() == ["migrate 1.1.0"]
    assert fleet.record()[-1]["result"] == "failed"
    assert fleet.locks() == []


def test_a_migration_that_old_code_does_not_survive_must_be_confirmed_and_bars_the_way_back(fleet: Fleet) -> None:
    name = "work.0003_drop"
    fleet.trouble(missing={name: "DROPPING COLUMN"})
    text = fleet.run(good=False)
    assert f"{name}: DROPPING COLUMN" in text
    assert fleet.happened() == []
    fleet.run(release_confirm_incompatible=True)
    fleet.trouble(strange=[name])
    text = fleet.run("rollback", good=False, app_version="1.0.0")
    assert f"{name} (of 1.1.0): DROPPING COLUMN" in text
    assert "rollback to 1.0.0 is refused, no host was changed" in text
    assert set(fleet.versions().values()) == {"1.1.0"}
    fleet.trouble(strange=["work.0004_other"])
    assert "work.0004_other: nobody judged it" in fleet.run("rollback", good=False, app_version="1.0.0")
    assert fleet.locks() == []


def test_a_lost_host_is_named_and_the_lock_is_given_back(fleet: Fleet) -> None:
    fleet.lose("web2")
    text = fleet.run(good=False)
    assert "deploy 1.1.0 does not start, nothing was changed: web2 did not answer" in text
    assert fleet.happened() == []
    assert fleet.locks() == []


def test_a_batch_that_nobody_can_make_is_refused_before_the_lock(fleet: Fleet) -> None:
    assert "'half' is no size of a batch" in fleet.run(good=False, __release_sizes=[1, "half"])
    assert (fleet.happened(), fleet.record(), fleet.locks()) == ([], [], [])


@pytest.fixture(scope="session")
def cut_off_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a real run leaves that was cut off after the canary: the first host has changed, and nobody is left who takes it back."""
    fleet = Fleet(tmp_path_factory.mktemp("cut-off"))
    fleet.run(good=False, __release_moved_hosts="{{ cut_off }}", __release_back_workers="{{ cut_off }}")
    log = {"action": "deploy", "from": "1.0.0", "to": "1.1.0", "result": "done"}
    (fleet.place / "web1" / "state" / "releases.log").write_text(json.dumps(log) + "\n")
    assert [host for host, version in fleet.versions().items() if version == "1.1.0"] == ["web1"]
    assert fleet.locks() == fleet.keepers
    return fleet.place


@pytest.fixture
def cut_off(fleet: Fleet, cut_off_place: Path) -> Fleet:
    """A fleet whose release was cut off after the canary."""
    shutil.rmtree(fleet.place)
    shutil.copytree(cut_off_place, fleet.place, symlinks=True)
    return fleet


def test_a_cut_off_release_is_taken_up(cut_off: Fleet) -> None:
    assert "under way is deploy 1.1.0, started by amina" in cut_off.run(good=False)
    cut_off.run(resume=True)
    assert set(cut_off.versions().values()) == {"1.1.0"}
    assert cut_off.locks() == []


def test_a_release_that_was_taken_up_takes_back_what_the_cut_off_run_has_switched(cut_off: Fleet) -> None:
    cut_off.trouble(web2="ready")
    # The units of the stand-in do not run, so nothing else can tell.
    cut_off.run(good=False, resume=True, __release_done_web=["web1"])
    assert cut_off.happened().count("deploy web web1 1.1.0") == 1
    assert "take_back web web1 1.0.0" in cut_off.happened()
    assert set(cut_off.versions().values()) == {"1.0.0"}
    assert cut_off.record()[-1]["result"] == "taken_back"
    assert cut_off.locks() == []


def test_what_a_cut_off_run_has_finished_is_watched_once(cut_off: Fleet) -> None:
    cut_off.trouble(probe_web1="killed")
    text = cut_off.run(good=False, resume=True, __release_done_web=cut_off.web, __release_done_workers=cut_off.workers)
    assert "stopped in phase batch taken up" in text
    assert "take_back web web1 1.0.0" in cut_off.happened()
    assert cut_off.locks() == []


@three_keepers
def test_hosts_go_back_although_the_record_cannot_be_written(fleet: Fleet) -> None:
    fleet.trouble(web2="ready", record="web2")
    text = fleet.run(good=False)
    assert "The record lacks what stopped deploy 1.1.0" in text
    assert "Back on the old release: web1, web2" in text
    assert "take_back web web1 1.0.0" in fleet.happened()
    assert set(fleet.versions().values()) == {"1.0.0"}


@three_keepers
def test_monitoring_that_is_lost_closes_the_gate_and_not_the_run(fleet: Fleet) -> None:
    # A keeper as well: the majority does without it.
    fleet.lose("db3")
    text = fleet.run(good=False, release_monitoring_members=[{"name": "db3", "address": "127.255.255.1"}], release_canary_seconds=1)
    assert "gate requests on web1: measured no data: Prometheus gave no answer" in text
    assert "take_back web web1 1.0.0" in fleet.happened()
    assert fleet.record()[-1]["result"] == "taken_back"
    assert fleet.locks() == []


def test_a_rollback_that_is_taken_up_names_its_version(fleet: Fleet) -> None:
    text = fleet.run("rollback", good=False, resume=True, app_version="")
    assert "name the version that the run went to which was cut off: -e app_version=VERSION (bin/history" in text
    assert fleet.happened() == []


@three_web_hosts
def test_a_rollback_goes_one_by_one_leaves_lost_hosts_out_and_needs_the_release_everywhere(fleet: Fleet) -> None:
    fleet.stand_on("1.1.0")
    fleet.lose("web3")
    # Ansible's own exit status says that a host did not answer.
    text = fleet.run("rollback", good=False, app_version="1.0.0")
    assert [line.split()[2] for line in fleet.happened()] == ["web1", "web2", "worker1", "worker2"]
    assert "left out, because they did not answer: web3" in fleet.record()[-1]["text"], text
    seal = fleet.place / "web2" / "opt" / "releases" / "1.1.0" / ".archive.sha256"
    seal.unlink()
    assert "release 1.1.0 is not on web2; kept there: 1.0.0. Nothing was changed" in fleet.run("rollback", good=False, app_version="1.1.0")
    assert fleet.locks() == []


@three_web_hosts
def test_an_emergency_goes_all_at_once(fleet: Fleet) -> None:
    fleet.stand_on("1.1.0")
    fleet.run("rollback", app_version="1.0.0", release_speed="emergency")
    lines = [line.split() for line in fleet.happened()]
    assert sorted(line[2] for line in lines) == fleet.web + fleet.workers
    assert {line[1] for line in lines[:3]} == {"web"}
    assert [line["text"].split(";")[0] for line in fleet.record() if line["phase"] == "batch 1"] == ["web1, web2, web3"]
