#!/usr/bin/env python3
"""Whether every one of 1,000 queued tasks is run although a release comes in the middle, and how many are run twice."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from typing import Any

from report import Series, on, write
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="tasks (default: 1000)")
    parser.add_argument("--scale", type=float, default=0.2, help="what durations of 1 to 30 s are multiplied with (default: 0.2)")
    options = parser.parse_args()
    members()
    before, target = version(), f"tasks-{int(time.time())}"
    queue = QUEUE.replace("NAME", repr(NAMES[0])).replace("SCALE", str(options.scale)).replace("COUNT", str(options.count))
    begin = time.monotonic()
    queued = set(shell(queue))
    runs: list[Run] = []
    release = threading.Thread(target=lambda: runs.append(play("deploy", app_version=target, reason="proof")))
    found: dict[str, tuple[str, int, str]] = states()
    at_start: dict[str, Any] = {}
    while done(found) < len(queued) and time.monotonic() - begin < 1500:
        time.sleep(5)
        found = states()
        if not at_start and done(found) >= len(queued) * 0.1:
            at_start = {"done": done(found), "seconds": time.monotonic() - begin}
            release.start()
        print(f"{time.monotonic() - begin:.0f} s: {done(found)} of {len(queued)} done", flush=True)
    seconds = time.monotonic() - begin
    at_end = done(found)
    if at_start:
        release.join()
    deployed = Series("exit status of the deploy in the middle", 0, "", [float(runs[0].status if runs else 99)])
    deployed.failures = ["\n".join(runs[0].text.splitlines()[-15:])] if runs and runs[0].status else []
    missing = Series("tasks that have not run", 0, "tasks", [float(len(queued) - at_end)])
    missing.failures = [f"{key}: {found.get(key, ('gone', 0, ''))[0]}" for key in sorted(queued) if found.get(key, ("gone",))[0] != "done"][:10]
    twice = [key for key, (_, starts, _) in found.items() if starts > 1]
    repeated = Series("tasks that were started more than once (counted, not forbidden)", float(options.count), "tasks", [float(len(twice))])
    back = play("rollback", scope="release", app_version=before, reason="proof")
    workers = {name: sum(worker == name for _, _, worker in found.values()) for name in sorted({worker for _, _, worker in found.values()})}
    notes = [
        f"{len(queued)} tasks of {options.scale:g} to {30 * options.scale:g} s (1 to 30 s times {options.scale:g}, so that two small workers are "
        f"done in minutes), all queued at once; {seconds:.0f} s until the last one was done. Finished by {json.dumps(workers)}.",
        f"Deploy of {target} over {before}: begun after {at_start.get('seconds', 0):.0f} s with {at_start.get('done', 0)} done, "
        f"{runs[0].seconds if runs else 0:.0f} s long. Way back to {before} afterwards: exit status {back.status}.",
        f"Removed afterwards: {json.dumps(remove())}.",
    ]
    return write("tasks", __doc__ or "", [deployed, missing, repeated], notes)


if __name__ == "__main__":
    sys.exit(main())
