#!/usr/bin/env python3
"""Whether nothing is lost when the backup host is down for an hour: WAL waits at the leader, follows by itself, and the drill restores all of it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from report import PROJECT, Series, docker, write

# Hosts of their own, so that the lab stays as it is; what its alerts say to this is asked by `bin/prove backup_faults`.
SCENARIO = "backup"
NAME = f"obcms-molecule-{SCENARIO}"
WAL = "/var/lib/postgresql/17/obcms/pg_wal"
TABLE = "proof_hour"


def inside(host: str, command: str) -> str:
    """Output of a shell command on a host of the scenario; RuntimeError when it fails."""
    done = subprocess.run(["docker", "exec", "-i", f"{NAME}-{host}", "bash", "-s"], input=command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{host}: {command[:80]}: {done.stdout[-300:]} {done.stderr.strip()[-600:]}")
    return done.stdout.strip()


def sql(host: str, statement: str) -> str:
    return inside(host, f"cd /; runuser -u postgres -- psql -XAtqd obcms <<'EOF'\n{statement}\nEOF")


def leader() -> str:
    return next(host for host in ("db1", "db2") if sql(host, "SELECT pg_is_in_recovery()") == "f")


def waiting(host: str) -> int:
    """Segments that wait, as the metric behind the alerts counts them."""
    inside(host, "systemctl start obcms-wal-queue.service")
    return int(inside(host, "awk '/^obcms_wal_waiting_segments/ {print $2}' /var/lib/prometheus/node-exporter/wal_queue.prom"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long the host is down (default: 60)")
    options = parser.parse_args()
    print(f"hosts of the scenario {SCENARIO} ...", flush=True)
    made = subprocess.run(["molecule", "converge", "-s", SCENARIO], cwd=PROJECT, capture_output=True, text=True, check=False)
    if made.returncode:
        print(made.stderr[-6000:], file=sys.stderr)
        return 1
    host = leader()
    sql(host, f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n bigserial PRIMARY KEY, words text)")
    inside("backup1", "obcms-backup take")
    docker("kill", f"{NAME}-backup1")
    began, rows, most, slowest = time.monotonic(), 0, 0, 0.0
    while (passed := time.monotonic() - began) < options.minutes * 60:
        sent = time.monotonic()
        sql(host, f"INSERT INTO {TABLE} (words) SELECT md5(n::text) FROM generate_series(1, 100) n")
        slowest = max(slowest, time.monotonic() - sent)
        rows += 100
        if rows % 30000 == 0:
            most = waiting(host)
            print(f"{passed / 60:.0f} min: {rows} rows, {most} segments wait", flush=True)
        time.sleep(max(0.0, 1 - (time.monotonic() - sent)))
    most, size = waiting(host), int(inside(host, f"du -sm {WAL} | cut -f1"))
    refused = int(sql(host, "SELECT failed_count FROM pg_stat_archiver"))
    docker("start", f"{NAME}-backup1")
    back = time.monotonic()
    behind = Series("until all of it was in the repository, after the host was back", 600)
    while waiting(host) and time.monotonic() - back < behind.limit:
        time.sleep(2)
    behind.values.append(time.monotonic() - back)
    inside("backup1", "systemctl start obcms-restore-drill.service")
    drill = json.loads(inside("backup1", "cat /var/lib/obcms/backup/drill.json"))
    lost = Series("rows of that hour that the database or its restored copy lacks", 0, "rows")
    there = int(sql(host, f"SELECT count(*) FROM {TABLE}"))
    lost.values.append(rows - min(there, drill["rows"], rows))
    notes = [
        f"The host of the backups was killed and away for {options.minutes:g} min; 100 rows a second were written, the slowest took {slowest:.1f} s.",
        f"At the end {most} segments waited, {size} MB of WAL lay on the leader, and PostgreSQL had tried in vain {refused} times.",
        f"The drill then restored the backup from before and replayed to the newest WAL: {drill}",
    ]
    return write("backup_host_hour", __doc__ or "", [lost, behind], notes)


if __name__ == "__main__":
    sys.exit(main())
