#!/usr/bin/env python3
"""Each thing that goes wrong with backups: nothing is lost, one message names it, and all is well again afterwards."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backups.marked_rows import begin, clean, end, kept, wrong
from failover import healthy, leader, sql
from report import PROJECT, Series, container, docker, mounting, on, write

KEPT = PROJECT / ".cache" / "backup_faults"
DATABASE = "/srv/obcms/backup/database"
DRILL = "systemctl start obcms-restore-drill; cat /var/lib/obcms/backup/drill.json"
# A file system of its own for the repository, just large enough for what is there: a file then takes the rest.
SMALL_DISK = f"""
set -e
size=$(( $(du -sk {DATABASE} | cut -f1) + 8192 ))
mkdir -p /run/proof-under; mount --bind {DATABASE} /run/proof-under
mount -t tmpfs -o size=${{size}}k,mode=0750,uid=$(id -u pgbackrest),gid=$(id -g pgbackrest) tmpfs {DATABASE}
cp -a /run/proof-under/. {DATABASE}/
systemctl restart pgbackrest
dd if=/dev/zero of={DATABASE}/filler bs=64k status=none 2>/dev/null || true
df -k {DATABASE} | tail -n 1
"""
LARGE_DISK = f"""
set -e
systemctl stop pgbackrest
cp -a {DATABASE}/. /run/proof-under/
umount -l {DATABASE}; umount -l /run/proof-under
systemctl start pgbackrest
"""

# On the leader: a segment in which an earlier timeline ended, as a leader that was lost has it, waits to be archived; another content each time.
STALE = """
import pathlib
wal = pathlib.Path("/var/lib/postgresql/17/obcms/pg_wal")
history = max(wal.glob("*.history"))
number, position = history.read_text().strip().splitlines()[-1].split()[:2]
high, low = (int(part, 16) for part in position.split("/"))
name = f"{int(number):08X}{high:08X}{low >> 24:08X}"
content = bytearray((wal / (history.stem + name[8:])).read_bytes())
content[-1] = ROUND
(wal / name).write_bytes(content)
(wal / "archive_status" / f"{name}.done").unlink(missing_ok=True)
# A leader that never archived it has no note that it did.
for note in pathlib.Path("/var/lib/postgresql/pgbackrest/spool/archive/obcms/out").glob(f"{name}*"):
    note.unlink()
(wal / "archive_status" / f"{name}.ready").touch()
print(name)
"""


class Failed(Exception):
    """What was not as it should be."""


def expect(what: str, text: str, *words: str) -> str:
    """The text when all words are in it."""
    missing = [word for word in words if word not in text]
    if missing:
        raise Failed(f"{what}: {', '.join(missing)} is not in {text[-400:]!r}")
    return text


def waiting() -> int:
    """Segments that wait on the leader, counted anew."""
    host = leader()
    on(host, "systemctl start obcms-wal-queue.service")
    metrics = on(host, "grep -h '^obcms_wal_waiting_segments' /var/lib/prometheus/node-exporter/wal_queue.prom")
    return int(float(metrics.split()[-1]))


def caught_up(seconds: float = 240) -> float:
    """Seconds until no segment waits any more."""
    started = time.monotonic()
    while waiting():
        if time.monotonic() - started > seconds:
            raise Failed(f"{waiting()} segments still wait after {seconds:.0f} s")
        time.sleep(2)
    return time.monotonic() - started


def some_wal(segments: int = 3) -> None:
    for _ in range(segments):
        sql("SELECT pg_current_xact_id(); SELECT pg_switch_wal();")


def refused_wal(seconds: float = 150) -> str:
    """What the leader's journal says of a segment that was refused."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        said = on(leader(), "journalctl -u patroni --since=-3min --no-pager -o cat | grep -E 'ERROR|archive command failed' | tail -n 3", check=False)
        if said:
            return said
        time.sleep(3)
    raise Failed("the leader's journal says nothing of refused WAL")


def drill_passes() -> dict[str, object]:
    found = json.loads(on("backup1", DRILL, timeout=400, check=False))
    if not found["ok"]:
        raise Failed(f"the drill does not pass: {found['message']}")
    return dict(found)


def repository_full() -> str:
    """The repository's disk is full: a small file system of its own is put over it."""
    mounting("backup1", SMALL_DISK)
    try:
        said = on("backup1", "obcms-backup take --type=full 2>&1", check=False, timeout=300)
        expect("obcms-backup take", said, "no room on the file system of the repository")
        some_wal()
        refused = refused_wal()
        if not waiting():
            raise Failed("no segment waits although nothing can be written")
    finally:
        on("backup1", f"rm -f {DATABASE}/filler")
        try:
            behind = caught_up()
        finally:
            mounting("backup1", LARGE_DISK)
    drill_passes()
    return f"{said.splitlines()[-1][:200]} / leader: {refused.splitlines()[-1][:160]}; caught up {behind:.0f} s after there was room"


def backup_host_down(minutes: float = 7) -> str:
    """The backup host is down (7 minutes stand for the hour) while rows are written."""
    begin()
    docker("kill", container("backup1"))
    try:
        time.sleep(minutes * 60)
        alerts = on("mon1", "promq 'ALERTS{alertstate=\"firing\"}' 2>/dev/null", check=False)
        most = waiting()
    finally:
        docker("start", container("backup1"))
    rows = end()
    problems = wrong(rows, kept(), time.time())
    behind = caught_up(400)
    expect("alerts", alerts, "WalArchivingFails", "HostDown")
    drill_passes()
    if problems:
        raise Failed("; ".join(problems))
    return (
        f"WalArchivingFails and HostDown fired; {most} segments waited; caught up {behind:.0f} s after the host was back; {len(rows)} rows, none lost"
    )


def archive_command_fails() -> str:
    """pgBackRest on the leader cannot read its settings."""
    host = leader()
    on(host, "chmod 000 /etc/pgbackrest/pgbackrest.conf")
    try:
        some_wal()
        said = refused_wal()
        most = waiting()
    finally:
        on(host, "chmod 640 /etc/pgbackrest/pgbackrest.conf")
    behind = caught_up()
    return f"{said.splitlines()[-1][:200]}; {most} segments waited, caught up after {behind:.0f} s"


def stale_segment() -> str:
    """The leader archives a segment that the repository has already, with another content, from a leader that was lost: it goes on to the next."""
    healthy()
    on(leader(), "obcms-patronictl switchover --force", timeout=180)
    healthy()
    host, name = leader(), ""
    for number in (1, 2):
        name = on(host, f"sudo -u postgres python3 - <<'EOF'\n{STALE.replace('ROUND', str(number))}EOF")
        started = time.monotonic()
        while on(host, f"test -e /var/lib/postgresql/17/obcms/pg_wal/archive_status/{name}.done || echo waits", check=False):
            if time.monotonic() - started > 200:
                raise Failed(f"{name} still waits: {refused_wal()}")
            some_wal(1)
            time.sleep(5)
    behind = caught_up()
    said = on(host, f"journalctl -u patroni --since=-10min --no-pager -o cat | grep -F 'archive-refused: {name}' | tail -n 1", check=False)
    expect("the leader's journal", said, "from a leader that was lost")
    drill_passes()
    return f"{said}; caught up {behind:.0f} s later"


def damaged_file() -> str:
    """Bytes of a file of the newest backup are changed: the drill names the file."""
    path = on(
        "backup1", f"find {DATABASE}/backup/obcms/$(obcms-backup list | grep here | tail -n 1 | cut -d' ' -f1)/ -type f -size +20k | sort | tail -n 1"
    )
    on("backup1", f"cp -a {path} /run/proof-file; printf 'damage' | dd of={path} bs=1 seek=9000 conv=notrunc status=none")
    try:
        said = json.loads(on("backup1", DRILL, check=False, timeout=400))["message"]
    finally:
        on("backup1", f"cp -a /run/proof-file {path}; rm /run/proof-file")
    expect("the drill", said, "damaged in the repository", Path(path).name)
    drill_passes()
    return str(said[:300])


def damaged_wal() -> str:
    """Bytes of a WAL segment that the newest backup needs are changed: the drill names the segment."""
    # Until the restore begins its WAL must be there whole: the newest segment that is archived before the drill marks its point.
    some_wal(1)
    caught_up()
    manifest = f"$(ls -d {DATABASE}/backup/obcms/2*/ | sort | tail -n 1)backup.manifest"
    path = on("backup1", f"find {DATABASE}/archive/obcms -name '*.zst' -newer {manifest} | sort | tail -n 1")
    on("backup1", f"cp -a {path} /run/proof-file; printf 'damage' | dd of={path} bs=1 seek=200 conv=notrunc status=none")
    try:
        said = json.loads(on("backup1", DRILL, check=False, timeout=400))["message"]
    finally:
        on("backup1", f"cp -a /run/proof-file {path}; rm /run/proof-file")
    expect("the drill", said, "WAL", Path(path).name[:24])
    drill_passes()
    return str(said[:300])


def failover_during_backup() -> str:
    """The leader's host is lost while a backup runs: the unit tries again, without a hand."""
    healthy()
    before = on("backup1", "obcms-backup list | grep -c here")
    on("backup1", "systemctl start --no-block obcms-backup.service")
    on("backup1", "for i in $(seq 50); do grep -q 'cut off' /var/lib/obcms/backup/backup.json && break; sleep 0.1; done; sleep 1")
    lost = leader()
    docker("kill", container(lost))
    try:
        started = time.monotonic()
        while True:
            time.sleep(5)
            outcome = json.loads(on("backup1", "cat /var/lib/obcms/backup/backup.json"))
            after = on("backup1", "obcms-backup list | grep -c here", check=False)
            if outcome["ok"] and int(after or 0) > int(before):
                break
            if time.monotonic() - started > 600:
                raise Failed(f"no backup after 600 s: {outcome['message']}")
        took = time.monotonic() - started
        tries = on("backup1", "journalctl -u obcms-backup --since=-11min -o cat --no-pager | grep -c 'backup of obcms starts, here'")
        if int(tries) < 2:
            raise Failed("the backup had ended before the leader's host was lost")
    finally:
        docker("start", container(lost))
    healthy()
    drill_passes()
    return f"{tries} tries, the last one succeeded {took:.0f} s after the leader's host was lost: {outcome['message'][:120]}"


def wrong_key() -> str:
    """The repository is opened with another key."""
    said = on("backup1", "PGBACKREST_REPO1_CIPHER_PASS=another obcms-backup list 2>&1", check=False)
    expect("obcms-backup list", said, "cannot be read with this key", "backup_cipher_password")
    return next(line for line in said.splitlines() if "cannot be read" in line)[:220]


def clock_changed() -> str:
    """The backup host's clock is an hour ahead, half an hour and a day behind: no backup gets a wrong name, and the next right one is taken."""
    on("backup1", "command -v faketime || DEBIAN_FRONTEND=noninteractive apt-get -qq install -y faketime", timeout=300)
    before = on("backup1", "obcms-backup list")
    said = []
    for shift, words in (("+1h", "ahead of the database leader's"), ("-30m", "behind the database leader's"), ("-1d", "is this host's clock right")):
        said.append(on("backup1", f"faketime -f {shift} obcms-backup take 2>&1", check=False, timeout=300).splitlines()[-1])
        expect(f"obcms-backup take, clock {shift}", said[-1], words)
    if on("backup1", "obcms-backup list") != before:
        raise Failed("a backup was taken with a wrong clock")
    on("backup1", "obcms-backup take", timeout=300)
    drill_passes()
    return " / ".join(said)


def offsite_away(minutes: float = 2) -> str:
    """The off-site storage does not answer: the repository here still gets every segment, and backups."""
    store = "obcms-lab-offsite-store"
    docker("pause", store)
    try:
        begin()
        time.sleep(minutes * 60)
        newest = sql("SELECT pg_walfile_name(pg_switch_wal())")
        rows = end()
        started = time.monotonic()
        while not on("backup1", f"find {DATABASE}/archive -name '{newest}-*'"):
            if time.monotonic() - started > 200:
                raise Failed(f"segment {newest} did not reach the repository here within 200 s")
            time.sleep(2)
        here = time.monotonic() - started
    finally:
        docker("unpause", store)
    behind = caught_up(300)
    return f"{len(rows)} rows; the newest segment was in the repository here after {here:.0f} s; off-site had it {behind:.0f} s after it was back"


FAULTS: dict[str, Callable[[], str]] = {
    "damaged_file": damaged_file,
    "damaged_wal": damaged_wal,
    "wrong_key": wrong_key,
    "archive_command_fails": archive_command_fails,
    "stale_segment": stale_segment,
    "repository_full": repository_full,
    "failover_during_backup": failover_during_backup,
    "clock_changed": clock_changed,
    "offsite_away": offsite_away,
    "backup_host_down": backup_host_down,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"these only (default: all): {', '.join(FAULTS)}; results of others are kept")
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in options.faults or FAULTS:
        started = time.monotonic()
        try:
            row = {"said": FAULTS[name](), "problem": ""}
        except (Failed, RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            row = {"said": "", "problem": str(error)[:600]}
        (KEPT / f"{name}.json").write_text(json.dumps(row | {"seconds": time.monotonic() - started}))
        print(f"{name}: {row['problem'] or row['said']}", flush=True)
    clean()
    series, notes = [], []
    for name, fault in FAULTS.items():
        path = KEPT / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"said": "", "problem": "not run", "seconds": 0}
        title = (fault.__doc__ or "").strip().rstrip(".")
        series.append(Series(title, 1200, values=[found["seconds"]], failures=[found["problem"]] if found["problem"] else []))
        notes += [f"{title}. Found: {' '.join(found['said'].split())}"] if found["said"] else []
    notes += [
        "Seconds: the whole try, with the drill that passes afterwards.",
        "The clock is changed for the backup's processes (libfaketime): containers share the machine's, which nothing may set.",
        "A restore that is interrupted: docs/proofs/restore_interrupted.md.",
    ]
    return write("backup_faults", __doc__ or "", series, notes)


if __name__ == "__main__":
    sys.exit(main())
