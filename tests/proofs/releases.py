#!/usr/bin/env python3
"""Whether anybody at the balancer notices deploys and rollbacks of the application."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

from report import PROJECT, Series, on, write
from rollout.steps import play
from traffic import Traffic, failed_requests, longest_answer, remove, told


def version() -> str:
    return on("web1", "basename $(readlink -f /opt/obcms/current)")


def phases(since: str) -> tuple[Series, str]:
    """How long each deploy took without the time in which it only watched, and each phase of them, as the record of changes has it."""
    told = subprocess.run(["bin/history", "inventories/lab", "--json"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    whole, each = defaultdict[str, float](float), defaultdict[str, list[float]](list)
    for row in json.loads(told):
        if row["kind"] == "deploy" and row["at"] >= since and "seconds" in row:
            whole[row["id"]] += row["seconds"] - row["watched"]
            each[row["phase"]].append(row["seconds"] - row["watched"])
    words = ", ".join(f"{phase} {statistics.median(seconds):.0f} s" for phase, seconds in each.items())
    alone = Series("a deploy, without the time in which it only watches", 300, values=list(whole.values()))
    return alone, f"Phases of a deploy, p50, likewise: {words}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="deploys, and as many rollbacks (default: 10)")
    parser.add_argument("--rate", type=float, default=20, help="requests per second at the balancer meanwhile (default: 20)")
    parser.add_argument("--soak", type=int, metavar="SECONDS", help="watch the canary and each batch for so long (default: the role's 60 and 30 s)")
    options = parser.parse_args()
    soak = {} if options.soak is None else {"release_canary_seconds": options.soak, "release_watch_seconds": options.soak}
    before, since = version(), f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
    deploys = Series("a deploy of 4 + 2 hosts, waiting times of the batches included", 900)
    backs = Series("a rollback of 4 + 2 hosts, waiting times of the batches included", 900)
    wrong = Series("runs that failed, or left another version than wanted", 0, "runs", [0.0])
    traffic = Traffic(options.rate)
    try:
        for number in range(options.times):
            wanted = f"release-{int(time.time())}"
            steps: tuple[tuple[Series, str, str, dict[str, Any]], ...] = (
                (deploys, "deploy", wanted, {"app_version": wanted, **soak}),
                (backs, "rollback", before, {"scope": "release", "app_version": before, **soak}),
            )
            for series, name, target, extra in steps:
                run = play(name, reason="proof", **extra)
                series.values.append(run.seconds)
                if run.status or version() != target:
                    wrong.values[0] += 1
                    wrong.failures.append(f"{name} {number + 1}: " + "\n".join(run.text.splitlines()[-12:]))
                print(f"{name} {number + 1}: {run.seconds:.0f} s, {len(traffic.errors())} requests failed so far", flush=True)
    finally:
        found = traffic.stop()
    alone, words = phases(since)
    words += f" Watched for {options.soak} s each." if soak else ""
    notes = [*told(found), words, f"Removed afterwards: {json.dumps(remove())}."]
    return write("releases", __doc__ or "", [wrong, failed_requests(found), longest_answer(found, 3), alone, deploys, backs], notes)


if __name__ == "__main__":
    sys.exit(main())
