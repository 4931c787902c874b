"""Programs of the backup host: what pgBackRest says becomes backups, metrics, and one clear message."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "backup" / "files"))
import backup_repository
import backup_run
import restore_drill
from backup_repository import Backup, BackupError, Settings, hinted, parsed, reason

DAY = 86400


def settings(place: Path, offsite: int = 2) -> Settings:
    for name in ("state", "metrics", "repository", "scratch"):
        (place / name).mkdir()
    return Settings(
        stanza="obcms", repository=str(place / "repository"), own=1, offsite=offsite, scratch=str(place / "scratch"), state=str(place / "state"),
        metrics=str(place / "metrics"), full_days=7, conninfo="", binaries="", database="obcms", marked_tables=["public.*"], marked_max_mb=1,
        archive_seconds=1, start_seconds=1,
    )  # fmt: skip


def info(*entries: dict[str, Any], code: int = 0, message: str = "ok") -> str:
    return json.dumps([{"name": "obcms", "status": {"code": code, "message": message}, "repo": [], "backup": list(entries)}])


def entry(label: str, kind: str, stop: int) -> dict[str, Any]:
    sizes = {"size": 30_000_000, "delta": 1, "repository": {"delta": 4_000_000}}
    return {"label": label, "type": kind, "timestamp": {"start": stop - 9, "stop": stop}, "info": sizes}


class Repositories:
    """Stands for pgBackRest: answers `info` of each repository, takes backups into them, or fails."""

    def __init__(self) -> None:
        self.held: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        self.failing: dict[int, str] = {}
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, timeout: float | None = None) -> str:
        self.calls.append(arguments)
        number = int(next(word for word in arguments if word.startswith("--repo="))[7:])
        if number in self.failing:
            raise BackupError(self.failing[number])
        if arguments[-1] == "backup":
            kind = next(word for word in arguments if word.startswith("--type="))[7:]
            self.held[number].append(entry(f"B{len(self.held[number]) + 1}", kind, 1000))
            return ""
        return info(*self.held[number])


@pytest.fixture
def repositories(monkeypatch: pytest.MonkeyPatch) -> Repositories:
    found = Repositories()
    for module in (backup_repository, backup_run):
        monkeypatch.setattr(module, "pgbackrest", found)
    return found


def psql(place: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stands for the leader's answer."""
    program = place / "bin" / "psql"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_each_repository_gets_a_backup_of_its_own_kind(tmp_path: Path, repositories: Repositories) -> None:
    repositories.held[1] = [entry("old", "full", 2_000_000_000)]
    said = backup_run.take(settings(tmp_path), "auto", "before-move")
    taken = [call for call in repositories.calls if call[-1] == "backup"]
    assert taken == [
        ("--stanza=obcms", "--repo=1", "--type=diff", "--annotation=label=before-move", "backup"),
        ("--stanza=obcms", "--repo=2", "--type=full", "--annotation=label=before-move", "backup"),
    ]
    assert said.startswith("backup: here: B2 (diff), 30 MB of database, 4.0 MB stored; off-site: B1 (full), 30 MB of database, 4.0 MB stored, after ")


def test_an_off_site_storage_that_is_away_keeps_no_backup_from_here(tmp_path: Path, repositories: Repositories) -> None:
    repositories.failing[2] = "the storage does not answer"
    place = settings(tmp_path)
    with pytest.raises(BackupError, match=r"here: B1 \(full\).*; off-site: the storage does not answer"):
        backup_run.take(place, "auto", "")
    assert repositories.held[1]
    assert json.loads((Path(place.state) / "backup.json").read_text())["ok"] is False
    metrics = (Path(place.metrics) / "backup.prom").read_text()
    assert "obcms_backup_last_result 0\n" in metrics
    assert "obcms_backup_newest_timestamp_seconds 1000\n" in metrics
    assert "obcms_backup_offsite_newest_timestamp_seconds 0\n" in metrics


def test_without_an_off_site_storage_nothing_is_said_of_it(tmp_path: Path, repositories: Repositories) -> None:
    place = settings(tmp_path, offsite=0)
    assert "off-site" not in backup_run.take(place, "full", "")
    assert "offsite" not in (Path(place.metrics) / "backup.prom").read_text()


@pytest.mark.parametrize(("leader", "said"), [(-3600, "3600 s ahead of the database leader's"), (86400, "86400 s behind the database leader's")])
def test_a_wrong_clock_names_no_backup(tmp_path: Path, repositories: Repositories, monkeypatch: pytest.MonkeyPatch, leader: float, said: str) -> None:
    psql(tmp_path, monkeypatch, f"echo {time.time() + leader}")
    with pytest.raises(BackupError, match=said):
        backup_run.take(settings(tmp_path), "auto", "")
    assert not any(call[-1] == "backup" for call in repositories.calls)


def test_a_clock_for_which_certificates_do_not_hold_is_a_problem(tmp_path: Path, repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    psql(tmp_path, monkeypatch, "echo 'SSL error: certificate verify failed' >&2; exit 2")
    with pytest.raises(BackupError, match="is this host's clock right"):
        backup_run.take(settings(tmp_path), "auto", "")
    assert not any(call[-1] == "backup" for call in repositories.calls)


@pytest.mark.parametrize("answer", ["date +%s", "exit 2", "echo nobody leads"])
def test_a_right_clock_and_a_leader_that_is_away_are_no_problem(
    tmp_path: Path, repositories: Repositories, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    psql(tmp_path, monkeypatch, answer)
    assert "here: B1 (full)" in backup_run.take(settings(tmp_path), "auto", "")


def test_a_full_backup_is_due_after_a_week_of_nights() -> None:
    full = Backup("F", "full", 0, 0, 1, 1, 1)
    diff = Backup("D", "diff", 6 * DAY, 6 * DAY, 1, 1, 1)
    assert backup_run.due_type([], 7, 0) == "full"
    assert backup_run.due_type([full, diff], 7, 6.4 * DAY) == "diff"
    assert backup_run.due_type([full, diff], 7, 6.6 * DAY) == "full"


def test_one_backup_at_a_time(tmp_path: Path, repositories: Repositories) -> None:
    place = settings(tmp_path)
    with (
        backup_run.only_one(place),
        pytest.raises(BackupError, match=rf"another backup is running \(process {os.getpid()}, since [0-9:]+\); wait"),
    ):
        backup_run.take(place, "auto", "")
    assert repositories.calls == []


def test_backups_of_a_stanza_in_trouble_are_an_error_with_its_words() -> None:
    with pytest.raises(BackupError, match="the repository holds nothing of other; run site.yml"):
        parsed(json.loads(info()), "other")
    with pytest.raises(BackupError, match="the repository says of obcms: missing stanza path"):
        parsed(json.loads(info(code=1, message="missing stanza path")), "obcms")
    assert parsed(json.loads(info(code=2, message="no valid backups")), "obcms") == []


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "P00  ERROR: [095]: unable to load info file\n            CryptoError: cipher header invalid\nP00 INFO: end",
            "the repository cannot be read with this key: backup_cipher_password must be the one that it was made with "
            "([095]: unable to load info file CryptoError: cipher header invalid)",
        ),
        (
            "ERROR: [039]: unable to write '/srv/x': [28] No space left on device",
            "no room on the file system of the repository ([039]: unable to write '/srv/x': [28] No space left on device)",
        ),
        ("just words", "just words"),
    ],
)
def test_one_clear_message(output: str, said: str) -> None:
    assert reason(output) == said


def test_bytes_of_a_wrong_key_are_printable() -> None:
    assert hinted("a\x00b\ufffdc") == "a?b?c"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("FATAL: unable to get 000000010000000000000007:", "WAL segment 000000010000000000000007 is damaged in the repository"),
        (
            'restored log file "000000010000000000000006" from archive\nFATAL: recovery ended before configured recovery target was reached',
            "WAL in the repository ends with segment 000000010000000000000006",
        ),
        ("FATAL: data directory is wrong", "FATAL: data directory is wrong"),
    ],
)
def test_why_a_copy_does_not_come_up(log: str, said: str) -> None:
    assert said in restore_drill.recovery_problem(log)


def test_damaged_files_are_named() -> None:
    report = "P01 INFO: invalid checksum 'obcms/20260101-000000F/bundle/1'\n missing file 'obcms/20260101-000000F/pg_data/base/1'\n"
    assert restore_drill.damaged_files(report) == ["obcms/20260101-000000F/bundle/1", "obcms/20260101-000000F/pg_data/base/1"]


def test_source_and_copy_are_compared_table_by_table() -> None:
    source = {"public.a": (2, "7"), "public.b": (3, "8"), "public.c": (1, "1"), "public.d": (1, "1")}
    copy = {"public.a": (1, "7"), "public.b": (3, "9"), "public.d": (1, "1")}
    assert restore_drill.differences(source, copy) == [
        "public.a has 2 rows on the leader and 1 in the copy",
        "public.b has 3 rows on both, but different content",
        "public.c is missing in the copy",
    ]


def test_a_drill_that_fails_keeps_the_age_of_the_last_that_passed(tmp_path: Path) -> None:
    place = settings(tmp_path)
    path = Path(place.metrics) / "restore_drill.prom"
    restore_drill.publish(place, restore_drill.Report(at=10, seconds=5))
    assert "obcms_restore_drill_passed_timestamp_seconds 0\n" in path.read_text()
    restore_drill.publish(place, restore_drill.Report(at=100, seconds=5, ok=True, restore_seconds=3, data_age_seconds=30, backup_stop=90))
    restore_drill.publish(place, restore_drill.Report(at=200, seconds=5))
    text = path.read_text()
    assert "obcms_restore_drill_passed_timestamp_seconds 105\n" in text
    assert "obcms_restore_drill_last_result 0\n" in text
    assert "obcms_backup_restored_stop_timestamp_seconds 90\n" in text


def test_a_full_disk_is_told_before_anything_is_tried(tmp_path: Path, repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    place = settings(tmp_path)
    room = list(os.statvfs(place.repository))
    room[4] = 2**24 // room[1]
    monkeypatch.setattr(backup_run.os, "statvfs", lambda _: os.statvfs_result(room))
    with pytest.raises(
        BackupError, match=r"here: no room on the file system of the repository \(\S+ has 16 MB free\); enlarge it, .*; off-site: B1 \(full\)"
    ):
        backup_run.take(place, "full", "")
    assert not repositories.held[1]
