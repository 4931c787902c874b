#!/usr/bin/python3
"""Takes a backup, lists what there is, and writes metrics.

take --type auto (the default) is a full backup when the newest full one is a week old, else a differential one. Each repository gets one: the one
on this host first, then the off-site one.
check has a WAL segment switched and sees it arrive in the repository.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from backup_repository import Backup, BackupError, Metric, Settings, backups, exposition, gauge, pgbackrest, remember, remembered, write

DAY = 86400
# A run starts with a random delay: a full backup of last week is not quite a week old.
EARLY = DAY // 2
LONGEST_LABEL = 100
# A backup is named after this host's clock, and pgBackRest refuses all further ones until the clock has passed the newest name.
CLOCK_SECONDS = 60
# Less room than that is none: WAL comes in segments of 16 MB, and nothing of a backup is kept unless the WAL at its start has arrived.
LEAST_BYTES = 64 * 2**20


def due_type(found: Sequence[Backup], full_days: int, now: float) -> str:
    """Full when there is none, or the newest is old enough."""
    newest = max((each.stop for each in found if each.kind == "full"), default=None)
    return "full" if newest is None or now - newest >= full_days * DAY - EARLY else "diff"


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of backups; BackupError when somebody else does."""
    path = Path(settings.state) / "backup.lock"
    with path.open("a+") as stream:
        _lock(stream)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        stream.flush()
        yield


def _lock(stream: TextIO) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        raise BackupError(f"another backup is running ({stream.read().strip()}); wait for it, or look with: journalctl -u obcms-backup -f") from error


def clock_problem(settings: Settings) -> str:
    """How far this host's clock is from the leader's when that is too far; empty when it is not, or when nobody answers: pgBackRest will say so."""
    command = ["psql", "-XAtqc", "SELECT extract(epoch FROM clock_timestamp())", "-d", settings.conninfo]
    try:
        leader = float(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    except subprocess.CalledProcessError as error:
        # A day behind, the certificate is not valid yet.
        refused = b"certificate verify failed" in error.stderr
        return "the database leader's certificate does not hold here; is this host's clock right (chronyc tracking)?" if refused else ""
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    ahead = time.time() - leader
    if abs(ahead) <= CLOCK_SECONDS:
        return ""
    way = "ahead of" if ahead > 0 else "behind"
    return f"this host's clock is {abs(ahead):.0f} s {way} the database leader's; set the one that is wrong (chronyc tracking), then try again"


def no_room(settings: Settings) -> str:
    """What is wrong when the repository's disk is full, which pgBackRest would only tell as WAL that does not arrive; else empty."""
    room = os.statvfs(settings.repository)
    free = room.f_bavail * room.f_frsize
    if free >= LEAST_BYTES:
        return ""
    where = f"{settings.repository} has {free / 2**20:.0f} MB free"
    return f"no room on the file system of the repository ({where}); enlarge it, or keep backups for fewer days"


def take(settings: Settings, kind: str, label: str) -> str:
    """Take one backup into each repository; what became of them in a line."""
    with only_one(settings):
        started = time.time()
        outcome = {"at": started, "ok": False, "label": label, "message": "cut off"}
        remember(settings, "backup", outcome)
        problem = clock_problem(settings)
        words, good = ([problem], False) if problem else ([], True)
        for number, where in settings.repositories.items() if good else ():
            # One that fails keeps nothing from the others.
            try:
                newest = take_into(settings, number, kind, label)
                pages = "; it holds damaged pages: pgbackrest info --set " + newest.label if newest.damaged_pages else ""
                words.append(
                    f"{where}: {newest.label} ({newest.kind}), {newest.size / 1e6:.0f} MB of database, {newest.stored / 1e6:.1f} MB stored{pages}"
                )
                good = good and not newest.damaged_pages
            except BackupError as error:
                words.append(f"{where}: {error}")
                good = False
        outcome |= {"ok": good, "message": "; ".join(words), "seconds": time.time() - started}
        remember(settings, "backup", outcome)
    publish(settings)
    if not good:
        raise BackupError(str(outcome["message"]))
    return f"backup: {outcome['message']}, after {outcome['seconds']:.0f} s"


def take_into(settings: Settings, number: int, kind: str, label: str) -> Backup:
    """Take one backup into one repository."""
    if number == settings.own and (problem := no_room(settings)):
        raise BackupError(problem)
    due = due_type(backups(settings, number), settings.full_days, time.time()) if kind == "auto" else kind
    notes = [f"--annotation=label={label}"] if label else []
    print(f"backup: {due} backup of {settings.stanza} starts, {settings.repositories[number]}", flush=True)
    pgbackrest(f"--stanza={settings.stanza}", f"--repo={number}", f"--type={due}", *notes, "backup")
    return backups(settings, number)[-1]


def metrics_of(found: Sequence[Backup], last: dict[str, object], room: os.statvfs_result) -> list[Metric]:
    """Metrics about the repository."""
    newest = {each.kind: each for each in found}
    label = {kind: f'{{type="{kind}"}}' for kind in newest}
    # Prefix of all names, which node_exporter's other files do not use.
    name = "obcms_backup"
    metrics = [
        gauge(f"{name}_last_run_timestamp_seconds", "When a backup was last tried.", float(str(last.get("at", 0)))),
        gauge(f"{name}_last_result", "1 when the last try succeeded.", float(bool(last.get("ok")))),
        gauge(f"{name}_kept", "Backups in the repository.", len(found)),
        gauge(f"{name}_newest_timestamp_seconds", "When the newest backup ended; 0 without one.", max((each.stop for each in found), default=0)),
        gauge(f"{name}_repository_free_bytes", "Room left for the repository.", room.f_bavail * room.f_frsize),
        gauge(f"{name}_repository_bytes", "Room of the file system of the repository.", room.f_blocks * room.f_frsize),
    ]
    per_kind: dict[str, tuple[str, Callable[[Backup], float]]] = {
        "stop_timestamp_seconds": ("When the newest backup ended.", lambda each: each.stop),
        "duration_seconds": ("How long it took.", lambda each: each.stop - each.start),
        "database_bytes": ("Size of the database in it.", lambda each: each.size),
        "stored_bytes": ("What it takes in the repository.", lambda each: each.stored),
    }
    for key, (text, get) in per_kind.items():
        metrics.append(Metric(f"{name}_{key}", text, {label[kind]: get(each) for kind, each in newest.items()}))
    return metrics


def publish(settings: Settings) -> None:
    """Write the metrics. A repository that cannot be read has no backup in them, which is an alert."""
    found: dict[int, list[Backup]] = {}
    for number, where in settings.repositories.items():
        try:
            found[number] = backups(settings, number)
        except BackupError as error:
            print(f"backup: {where}: {error}", file=sys.stderr)
            found[number] = []
    metrics = metrics_of(found[settings.own], remembered(settings, "backup"), os.statvfs(settings.repository))
    if settings.offsite:
        newest = max((each.stop for each in found[settings.offsite]), default=0)
        metrics.append(gauge("obcms_backup_offsite_newest_timestamp_seconds", "When the newest off-site backup ended; 0 without one.", newest))
    write(Path(settings.metrics) / "backup.prom", exposition(metrics))


def listed(found: Sequence[Backup]) -> str:
    """Backups as a table, newest last."""
    rows = [["backup", "type", "where", "ended", "database", "stored", "label"]]
    rows += [[b.label, b.kind, b.where, b.when, f"{b.size / 1e6:.0f} MB", f"{b.stored / 1e6:.1f} MB", b.notes.get("label", "")] for b in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def everywhere(settings: Settings) -> tuple[list[Backup], list[str]]:
    """Backups of all repositories, and what is wrong with those that do not answer."""
    found, problems = [], []
    for number, where in settings.repositories.items():
        try:
            found += backups(settings, number)
        except BackupError as error:
            problems.append(f"{where}: {error}")
    return found, problems


def parser() -> argparse.ArgumentParser:
    description, usage = (__doc__ or "").split("\n\n", 1)
    result = argparse.ArgumentParser(prog="obcms-backup", description=description, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = result.add_subparsers(dest="word", required=True)
    taking = words.add_parser("take", help="take a backup now")
    taking.add_argument("--type", choices=["auto", "full", "diff", "incr"], default="auto")
    taking.add_argument("--label", default="", help="a word for people, kept with the backup")
    listing = words.add_parser("list", help="what there is")
    listing.add_argument("--json", action="store_true")
    words.add_parser("check", help="see that WAL arrives")
    words.add_parser("metrics", help="write the metrics")
    return result


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)
    try:
        settings = Settings.load()
        if options.word == "take":
            if len(options.label) > LONGEST_LABEL or not options.label.isprintable():
                raise BackupError(f"the label has {len(options.label)} characters; {LONGEST_LABEL} printable ones at most are allowed")
            print(take(settings, options.type, options.label))
        elif options.word == "check":
            started = time.monotonic()
            pgbackrest(f"--stanza={settings.stanza}", "check")
            print(f"a WAL segment switched now was in the repository after {time.monotonic() - started:.1f} s")
        elif options.word == "metrics":
            publish(settings)
        else:
            found, problems = everywhere(settings)
            print(json.dumps([vars(each) for each in found]) if options.json else listed(found))
            if problems:
                raise BackupError("; ".join(problems))
    except BackupError as error:
        print(f"obcms-backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
