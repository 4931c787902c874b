#!/usr/bin/env python3
"""Whether every one of 1,000 queued tasks is run although a release and its way back come in the middle, and how many are run twice."""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import threading
import time
from typing import Any

from report import PROJECT, Series, on, write
from rollout.steps import Run, play, shell
from traffic import NAMES, members, remove

# Durations of 1 to 30 s, the same for every run of the proof.
QUEUE = """
import json, random
from accounts.models import User
from work.services import queue_task
random.seed(5)
user = User.objects.get(username=NAME)
print(json.dumps([str(queue_task(user, round(random.uniform(1, 30) * SCALE, 3)).pk) for _ in range(COUNT)]))
"""
LOOK = """
import json
from work.models import TaskRun
print(json.dumps([[str(t.pk), t.state, t.starts, t.worker] for t in TaskRun.objects.filter(organisation__code="LOADTEST")]))
"""


def states() -> dict[str, tuple[str, int, str]]:
    return {key: (state, starts, worker) for key, state, starts, worker in shell(LOOK)}


def version() -> str:
    return on("web1", "basename $(readlink -f /opt/obcms/current)")


def done(found: dict[str, tuple[str, int, str]]) -> int:
    return sum(state == "done" for state, _, _ in found.values())


def changes(since: str) -> str:
    """What else the record of changes has of this time."""
    told = subprocess.run(["bin/history", "inventories/lab", "--json"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    kinds = {row["id"]: row["kind"] for row in json.loads(told) if row["at"] >= since}
    return ", ".join(f"{list(kinds.values()).count(kind)} {kind}" for kind in sorted(set(kinds.values())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="tasks (default: 1000)")
    parser.add_argument("--scale", type=float, default=1, help="what durations of 1 to 30 s are multiplied with (default: 1, about 70 minutes)")
    options = parser.parse_args()
    members()
    before, target = version(), f"tasks-{int(time.time())}"
    queue = QUEUE.replace("NAME", repr(NAMES[0])).replace("SCALE", str(options.scale)).replace("COUNT", str(options.count))
    since = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
    begin = time.monotonic()
    # Two small workers do four at once, 15.5 s each before the scale; and half of that again for the releases and a busy machine.
    limit = 900 + options.count * 15.5 * options.scale / 4 * 1.5
    queued = set(shell(queue))
    runs: list[Run] = []
    steps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("deploy", {"app_version": target}),
        ("rollback", {"scope": "release", "app_version": before}),
    )
    release = threading.Thread(target=lambda: runs.extend(play(name, reason="proof", **extra) for name, extra in steps))
    found: dict[str, tuple[str, int, str]] = states()
    at_start: dict[str, Any] = {}
    while done(found) < len(queued) and time.monotonic() - begin < limit:
        time.sleep(5 + 15 * options.scale)
        found = states()
        if not at_start and done(found) >= len(queued) * 0.1:
            at_start = {"done": done(found), "seconds": time.monotonic() - begin}
            release.start()
        print(f"{time.monotonic() - begin:.0f} s: {done(found)} of {len(queued)} done", flush=True)
    seconds = time.monotonic() - begin
    at_end = done(found)
    if at_start:
        release.join()
    moves = Series("exit status of the deploy in the middle, and of its way back", 0, "", [float(run.status) for run in runs] or [99.0])
    moves.failures = ["\n".join(run.text.splitlines()[-15:]) for run in runs if run.status]
    missing = Series("tasks that have not run", 0, "tasks", [float(len(queued) - at_end)])
    missing.failures = [f"{key}: {found.get(key, ('gone', 0, ''))[0]}" for key in sorted(queued) if found.get(key, ("gone",))[0] != "done"][:10]
    twice = [key for key, (_, starts, _) in found.items() if starts > 1]
    repeated = Series("tasks that were started more than once (counted, not forbidden)", float(options.count), "tasks", [float(len(twice))])
    workers = {name: sum(worker == name for _, _, worker in found.values()) for name in sorted({worker for _, _, worker in found.values()})}
    notes = [
        f"{len(queued)} tasks of {options.scale:g} to {30 * options.scale:g} s, all queued at once; {seconds:.0f} s until the last one was done. "
        f"Finished by {json.dumps(workers)}.",
        f"Deploy of {target} over {before}: begun after {at_start.get('seconds', 0):.0f} s with {at_start.get('done', 0)} done; it took "
        f"{' s, the way back '.join(f'{run.seconds:.0f}' for run in runs)} s.",
        f"All changes of this time, as the record has them: {changes(since)}.",
        f"Removed afterwards: {json.dumps(remove())}.",
    ]
    return write("tasks", __doc__ or "", [moves, missing, repeated], notes)


if __name__ == "__main__":
    sys.exit(main())
