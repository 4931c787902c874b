#!/usr/bin/env python3
"""How much is lost with the whole database tier: all three hosts are killed while rows are written, and the repository alone is restored."""

from __future__ import annotations

import argparse
import random
import sys
import time

from backups.marked_rows import TABLE, begin, clean, end
from failover import DATABASE_HOSTS, healthy
from report import Series, container, docker, on, write

# On the backup host, with the drill's own functions: the newest backup and all WAL that is there, and which rows come back.
LOOK = f"""
import sys
sys.path.insert(0, "/usr/local/lib/obcms")
import restore_drill as drill
from backup_repository import Settings, backups
settings = Settings.load()
drill.clean(settings)
drill.restore(settings, backups(settings)[-1].label, "--type=default")
server = drill.start(settings)
try:
    copy = drill.Session(f"host={{settings.scratch}} user=postgres dbname={{settings.database}}")
    print(" ".join(row[0] for row in copy.ask("SELECT n FROM {TABLE} ORDER BY n")))
    copy.close()
finally:
    drill.stop(server)
    drill.clean(settings)
"""


def lose_all(age: Series, holes: Series) -> None:
    """Once: the age of the newest row that the repository has, and rows that are missing before it."""
    begin()
    time.sleep(random.uniform(35, 75))
    docker("kill", *[container(host) for host in DATABASE_HOSTS])
    lost_at = time.time()
    try:
        rows = end()
        look = f"cd /; runuser -u pgbackrest -g pgbackrest -G prometheus -- python3 - <<'EOF'\n{LOOK}\nEOF"
        there = {int(number) for number in on("backup1", look, timeout=400).split()}
    finally:
        docker("start", *[container(host) for host in DATABASE_HOSTS])
    lacking = [row for row in rows if row.number not in there]
    newest = max((row.number for row in rows if row.number in there), default=0)
    age.values.append(lost_at - lacking[0].sent if lacking else 0)
    holes.values.append(sum(row.number < newest for row in lacking))
    print(f"{age.values[-1]:.1f} s: {len(rows)} rows acknowledged, {len(lacking)} of them not in the repository", flush=True)
    healthy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often (default: 5)")
    options = parser.parse_args()
    age = Series("age of the newest data in the repository when all database hosts are gone", 60)
    holes = Series("acknowledged rows missing before that", 0, unit="rows")
    for _ in range(options.times):
        lose_all(age, holes)
    clean()
    notes = ["Age: from the first acknowledged row that the repository does not have to the moment in which the hosts were killed."]
    return write("data_age", __doc__ or "", [age, holes], [*notes, "Loss of one host: docs/proofs/failover_host.md, 0 acknowledged rows."])


if __name__ == "__main__":
    sys.exit(main())
