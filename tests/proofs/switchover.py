#!/usr/bin/env python3
"""How long writers wait, and whether anything fails, when playbooks/switchover.yml moves the database leader again and again."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time

from failover import TABLE, healthy, leader, sql
from report import Series, on, write
from rollout.steps import play
from traffic import Traffic, failed_requests, longest_answer, remove, told

HOSTS = ("web1", "web3", "worker2")
FLAG = "/tmp/proof-writer.stop"
# Writes one row after the other through the host's pooler, and gives up nothing: an error is written down and ends the connection.
WRITER = """
import json, os, sys, time
import psycopg
url, first, out = os.environ["DATABASE_URL"], int(sys.argv[1]), sys.argv[2]
number, acked, errors, connection = first, [], [], None
while not os.path.exists(sys.argv[3]):
    number += 1
    try:
        if connection is None:
            connection = psycopg.connect(url, connect_timeout=5, autocommit=True, prepare_threshold=None)
        connection.execute("INSERT INTO TABLE_NAME (n) VALUES (%s)", (number,))
        acked.append((number, time.time()))
        time.sleep(0.02)
    except psycopg.Error as error:
        errors.append((time.time(), str(error)))
        connection = None
        time.sleep(0.1)
json.dump({"acked": acked, "errors": errors}, open(out, "w"))
"""


def start_writers() -> None:
    sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n bigint PRIMARY KEY); GRANT INSERT ON {TABLE} TO obcms_app;")
    for place, host in enumerate(HOSTS):
        on(host, f"rm -f {FLAG}; cat > /tmp/writer.py <<'EOF'\n{WRITER.replace('TABLE_NAME', TABLE)}\nEOF\nchmod 644 /tmp/writer.py")
        on(
            host,
            "set -a; . /etc/obcms/obcms.env; set +a; cd /tmp; "
            f"nohup /opt/obcms/current/venv/bin/python /tmp/writer.py {place * 10**9} /tmp/writer.json {FLAG} >/tmp/writer.log 2>&1 </dev/null &",
        )


def stop_writers() -> dict[str, dict[str, list[list[float]]]]:
    found = {}
    for host in HOSTS:
        on(host, f"touch {FLAG}")
    time.sleep(3)
    for host in HOSTS:
        found[host] = json.loads(on(host, f"cat /tmp/writer.json; rm -f /tmp/writer.* {FLAG}"))
    return found


def gap(acked: list[list[float]], begin: float, end: float) -> float:
    """Longest time between two acknowledged rows of which one falls into the window."""
    times = [when for _, when in acked]
    pairs = zip(times, times[1:], strict=False)
    return max((later - earlier for earlier, later in pairs if later >= begin and earlier <= end), default=end - begin)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often the leader is moved (default: 20)")
    parser.add_argument("--rate", type=float, default=10, help="requests per second at the balancer meanwhile (default: 10)")
    options = parser.parse_args()
    healthy()
    stall = Series("longest time between two acknowledged rows, of three writers", 2)
    held = Series("queries held by the poolers", 2)
    moved = Series("switchovers that did not happen", 0, "switchovers", [0.0])
    traffic = Traffic(options.rate)
    windows: list[tuple[float, float]] = []
    start_writers()
    try:
        # The members have just logged in, which takes a core for a while.
        time.sleep(20)
        for number in range(options.times):
            before, begin = leader(), time.time()
            run = play("switchover", reason="proof")
            time.sleep(4)
            windows.append((begin, time.time()))
            after = leader()
            if run.status or after == before:
                moved.values[0] += 1
                moved.failures.append("\n".join(run.text.splitlines()[-12:]))
            elif said := re.search(r"were held for ([0-9.]+) s", run.words):
                held.values.append(float(said[1]))
            print(f"{number + 1}: {before} -> {after}, held {held.values[-1] if held.values else '-'} s, {run.seconds:.0f} s in all", flush=True)
    finally:
        writers = stop_writers()
        found = traffic.stop()
    for number, (begin, end) in enumerate(windows, 1):
        gaps = {host: gap(row["acked"], begin, end) for host, row in writers.items()}
        stall.values.append(max(gaps.values()))
        if stall.values[-1] > stall.limit:
            stall.failures.append(f"switchover {number}: {', '.join(f'{host} {seconds:.2f} s' for host, seconds in gaps.items())}")
    errors = Series("errors that a writer saw", 0, "errors", [float(sum(len(row["errors"]) for row in writers.values()))])
    errors.failures = [f"{host}: {text}" for host, row in writers.items() for _, text in row["errors"]][:10]
    kept = {int(number) for number in sql(f"SELECT n FROM {TABLE}").split()}
    acked = [int(number) for row in writers.values() for number, _ in row["acked"]]
    lost = Series("acknowledged rows that are not there", 0, "rows", [float(len(set(acked) - kept))])
    sql(f"DROP TABLE {TABLE}")
    removed = remove()
    notes = [
        f"{len(acked)} rows were acknowledged, written one after the other through the poolers of {', '.join(HOSTS)}.",
        *told(found),
        f"Removed afterwards: {json.dumps(removed)}.",
    ]
    return write("switchover", __doc__ or "", [moved, stall, held, errors, lost, failed_requests(found), longest_answer(found, 3)], notes)


if __name__ == "__main__":
    sys.exit(main())
