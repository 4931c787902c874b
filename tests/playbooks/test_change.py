"""The change lock and the record, end to end: three keepers are directories of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import run_playbook

PROJECT = Path(__file__).resolve().parents[2]
HOSTS = {"app": ["web1", "web2"], "postgres": ["db1", "db2", "db3"]}


class Fleet:
    """An inventory whose hosts are all this machine."""

    def __init__(self, place: Path) -> None:
        self.place, place = place, place / "inventory"
        place.mkdir()
        children = {group: {"hosts": {name: {"ansible_host": "127.0.0.1"} for name in names}} for group, names in HOSTS.items()}
        (place / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))
        self.connection: dict[str, Any] = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        (place / "group_vars").mkdir()
        (place / "host_vars").mkdir()
        (place / "group_vars" / "all.yml").write_text(yaml.safe_dump(self.connection))

    def lose(self, host: str) -> None:
        (self.place / "inventory" / "host_vars" / f"{host}.yml").write_text(
            yaml.safe_dump({"ansible_connection": "ssh", "ansible_host": "127.255.255.1", "ansible_port": 9, "ansible_ssh_retries": 0})
        )

    def find(self, host: str) -> None:
        (self.place / "inventory" / "host_vars" / f"{host}.yml").unlink()

    def run(self, good: bool = True, playbook: str = "tests/playbooks/change/change.yml", **extra: Any) -> str:
        directory = str(self.place) + "/{{ (item | default({'name': 'x'})).name }}"
        return run_playbook(playbook, f"{self.place}/inventory", {"change_directory": directory, **extra}, good)

    def record(self, host: str) -> list[dict[str, Any]]:
        path = self.place / host / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def locks(self) -> list[str]:
        return [host for host in HOSTS["postgres"] if (self.place / host / "lock.json").exists()]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_change_leaves_the_same_lines_on_every_keeper_and_no_lock(fleet: Fleet) -> None:
    fleet.run(reason="monthly release")
    lines = fleet.record("db1")
    assert [(line["seq"], line["phase"]) for line in lines] == [(1, "started"), (2, "gates"), (3, "canary"), (4, "closed")]
    assert lines[0]["reason"] == "monthly release"
    assert {(line["who"], line["kind"], line["subject"], line["id"]) for line in lines} == {("amina", "deploy", "1.2.0", lines[0]["id"])}
    assert lines == fleet.record("db2") == fleet.record("db3")
    assert fleet.locks() == []


def test_a_second_change_is_refused_with_who_since_what_and_why_until_the_lock_is_broken(fleet: Fleet) -> None:
    fleet.run(good=False, cut_off=True, reason="monthly release")
    assert fleet.locks() == ["db1", "db2", "db3"]
    started = json.loads((fleet.place / "db1" / "lock.json").read_text())
    text = fleet.run(good=False, kind="wave", subject="wave 3")
    assert f"under way is deploy 1.2.0, started by amina from {started['controller']} at {started['at']} (monthly release)" in text
    assert "wave wave 3 does not start, nothing was changed" in text
    assert "canary web2 answers" in text
    assert "-e break_lock=true" in text
    assert len(fleet.record("db1")) == 3
    fleet.run(kind="wave", subject="wave 3", break_lock=True)
    lines = fleet.record("db1")
    assert [line["phase"] for line in lines[3:]] == ["broken", "started", "gates", "canary", "closed"]
    assert "the lock of deploy 1.2.0, started by amina" in lines[3]["text"]
    assert fleet.locks() == []


def test_a_cut_off_change_is_resumed_under_its_own_id(fleet: Fleet) -> None:
    fleet.run(good=False, cut_off=True)
    assert "under way is deploy 1.2.0" in fleet.run(good=False, subject="1.3.0", resume=True)
    fleet.run(resume=True)
    lines = fleet.record("db1")
    assert [line["phase"] for line in lines] == ["started", "gates", "canary", "resumed", "gates", "canary", "closed"]
    assert len({line["id"] for line in lines}) == 1
    assert fleet.locks() == []


def test_two_runs_at_once_one_of_them_is_refused(fleet: Fleet) -> None:
    def start(number: int) -> str:
        try:
            return fleet.run(subject=f"1.{number}")
        except AssertionError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(start, (1, 2)))
    lines = fleet.record("db1")
    subjects = [line["subject"] for line in lines]
    # Whoever came second was refused, or came after the first had ended: lines of two changes never mix.
    assert subjects == sorted(subjects, key=subjects.index)
    assert sum("does not start" in text for text in texts) == 2 - len(set(subjects))
    assert fleet.locks() == []


def test_one_keeper_may_be_away_and_is_caught_up(fleet: Fleet) -> None:
    fleet.run()
    fleet.lose("db2")
    assert "keeper db2 does not answer" in fleet.run(subject="1.3.0")
    fleet.find("db2")
    assert len(fleet.record("db2")) == 4
    fleet.run(subject="1.4.0")
    assert len(fleet.record("db1")) == 12
    assert fleet.record("db1") == fleet.record("db2") == fleet.record("db3")


def test_two_keepers_away_stop_a_change_unless_told_otherwise(fleet: Fleet) -> None:
    fleet.lose("db2")
    fleet.lose("db3")
    text = fleet.run(good=False)
    assert "1 of 3 keepers have a whole record, 2 are needed (db1: whole; db2: no answer; db3: no answer)" in text
    assert "-e unrecorded=true" in text
    fleet.run(unrecorded=True)
    assert fleet.record("db1") == []


def test_a_keeper_that_was_away_when_a_change_ended_does_not_stop_the_next(fleet: Fleet) -> None:
    fleet.run(good=False, cut_off=True)
    fleet.lose("db3")
    fleet.run(resume=True)
    assert fleet.locks() == ["db3"]
    fleet.find("db3")
    fleet.run(subject="1.3.0")
    assert fleet.locks() == []
    assert fleet.record("db1") == fleet.record("db3")


def test_a_damaged_record_is_named_and_filled_once_it_is_moved_away(fleet: Fleet) -> None:
    fleet.run()
    path = fleet.place / "db1" / "record.jsonl"
    path.write_text(path.read_text().replace("answers", "ANSWERS"))
    text = fleet.run(subject="1.3.0")
    assert "the record on db1 is damaged: line 3 was changed after it was written" in text
    assert len(fleet.record("db1")) == 4
    path.rename(path.with_name("damaged"))
    fleet.run(subject="1.4.0")
    assert fleet.record("db1") == fleet.record("db2")
    assert len(fleet.record("db1")) == 12


def test_nothing_is_taken_in_check_mode(fleet: Fleet) -> None:
    command = ["ansible-playbook", "-i", f"{fleet.place}/inventory", "tests/playbooks/change/change.yml", "--check", "-e", json.dumps(
        {"change_directory": str(fleet.place) + "/{{ (item | default({'name': 'x'})).name }}"})]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert fleet.locks() == []
    assert fleet.record("db1") == []


def history(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    directory = json.dumps({"change_directory": str(fleet.place) + "/{{ (item | default({'name': 'x'})).name }}"})
    command = ["bin/history", f"{fleet.place}/inventory", *words, "-e", directory]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_history_lists_changes_and_finds_damage(fleet: Fleet) -> None:
    fleet.run(reason="monthly release")
    fleet.run(kind="wave", subject="wave 3", good=False, cut_off=True)
    listed = history(fleet).stdout
    assert [row.split()[2:6] for row in listed.splitlines()[2:]] == [["deploy", "1.2.0", "done", "1.1.0"], ["wave", "wave", "3", "under"]], listed
    assert "monthly release" in listed
    assert "gates  leader  measured 1, limit 1: passed" in history(fleet, "--long", "--kind", "deploy").stdout
    assert [line["phase"] for line in json.loads(history(fleet, "--json", "--kind", "wave").stdout)] == ["started", "gates", "canary"]
    assert history(fleet, "--check").returncode == 0
    path = fleet.place / "db3" / "record.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    damaged = history(fleet, "--check")
    assert damaged.returncode == 1
    assert "line 1 does not follow line 0" in damaged.stdout


@pytest.mark.parametrize("gone", [False, True], ids=["answers", "gone"])
def test_a_host_that_fails_in_an_update_gives_the_lock_back_whether_or_not_it_answers(fleet: Fleet, gone: bool) -> None:
    if gone:
        fleet.lose("web1")
    text = fleet.run(good=False, playbook="tests/playbooks/os_update/host.yml", restart="true" if gone else "false")
    assert ("It does not answer" if gone else "It was put back as far as it went") in text
    lines = fleet.record("db1")
    assert [line["phase"] for line in lines] == ["started", "leaves", "closed"]
    assert (lines[1]["host"], lines[2]["result"]) == ("web1", "failed")
    assert fleet.locks() == []
