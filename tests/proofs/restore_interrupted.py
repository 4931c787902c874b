#!/usr/bin/env python3
"""A restore is cut off in each of its phases: resumed it ends at exactly the moment asked for; abandoned before the final step, nothing is lost."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import Any

from backups.marked_rows import Row, begin, clean, end, kept, wrong
from failover import healthy
from point_in_time import UNTOUCHED, moment, somewhere
from report import Series, on, write
from rollout.steps import Run, play

# The task in which each phase is cut off, by a kill of the controller's whole process group.
BEFORE_FINAL = {
    "page": "close | Show the maintenance page",
    "stop": "stop | Stop what writes to the database",
    "keep": "keep | Stop the leader",
    "copy of files": "bring_back | Restore the files from the repository",
    "replay": "arrive | Ask the restored server where it is",
    "fit": "fit | Ask each of them which migrations it knows",
}
FINAL = {
    "new history": "promote | Begin the new history",
    "lead": "lead | Start Patroni on the restored server",
    "replicas": "copy | Start Patroni",
    "settle": "settle | Wait until every member runs and follows",
    "start": "start | Start what writes to the database",
}


def killed(process: subprocess.Popen[str]) -> None:
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)


def restore(cut: str = "", **extra: Any) -> Run:
    return play("rollback", {cut: killed} if cut else None, f"{UNTOUCHED},file_backup", scope="database", **extra)


def stream() -> tuple[list[Row], float]:
    begin()
    time.sleep(16)
    rows = end()
    return rows, somewhere(rows)


def resumed(series: Series) -> None:
    """One restore, cut off in every phase and taken up each time."""
    rows, at = stream()
    extra: dict[str, Any] = {"target": moment(at), "confirm": "obcms-lab"}
    cuts = 0
    for phase, text in {**BEFORE_FINAL, **FINAL}.items():
        run = restore(text, **extra)
        reached = "was not reached" if text not in run.text else "" if run.status == -signal.SIGKILL else f"ended with {run.status}"
        print(f"cut off in phase {phase}: {reached or 'yes'}", flush=True)
        cuts += not reached
        if reached:
            series.failures.append(f"phase {phase} {reached}: {' '.join(run.text.split())[-300:]}")
        extra = {"resume": True}
    last = restore(**extra)
    if last.status:
        series.failures.append(f"the last resume failed: {' '.join(last.text.split())[-600:]}")
    series.failures += wrong(rows, kept(), at)
    series.values.append(cuts)


def abandoned(series: Series) -> None:
    """Cut off before the final step, then the way back, which is cut off itself once."""
    rows, at = stream()
    restore(BEFORE_FINAL["fit"], target=moment(at), confirm="obcms-lab")
    again = restore(target=moment(at), confirm="obcms-lab")
    if again.status == 0 or "was cut off" not in again.words:
        series.failures.append("a second restore was not refused")
    restore("undo | Start the old leader first", abandon=True)
    back = restore(abandon=True)
    if back.status:
        series.failures.append(f"abandon failed: {' '.join(back.text.split())[-600:]}")
    series.failures += wrong(rows, kept(), time.time())
    if on("lb1", "test -e /etc/nginx/obcms/maintenance.on && echo closed", check=False):
        series.failures.append("the maintenance page is still shown")
    series.values.append(1)
    healthy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["resume", "abandon"])
    options = parser.parse_args()
    there = Series("cuts in one restore, each resumed, rows exactly those from before", 100, unit="cuts")
    back = Series("cut off before the final step and abandoned, abandoning cut off too: every row is there", 1, unit="times")
    if options.only != "resume":
        abandoned(back)
    if options.only != "abandon":
        resumed(there)
    clean()
    notes = [f"Cut off in: {', '.join([*BEFORE_FINAL, *FINAL])}; by SIGKILL to the playbook a second after the task began."]
    return write("restore_interrupted", __doc__ or "", [each for each in (there, back) if each.values or each.failures], notes)


if __name__ == "__main__":
    sys.exit(main())
