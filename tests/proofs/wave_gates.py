#!/usr/bin/env python3
"""Every gate of a wave stops it: each condition is made real on the lab, before a wave and while one soaks."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report import Series, write
from rollout import steps
from rollout.troubles import ALL_GATES, LAG_LASTS, Trouble, before_only, held_back, troubles

# Gates look back an hour, and soaking a minute; here both look back two minutes, so that one trouble is forgotten before the next is made.
SHORT: dict[str, Any] = {"__rollout_range": "2m", "rollout_soak_check_seconds": 10}


def only(trouble: Trouble) -> dict[str, Any]:
    """Nothing but this gate may stop the run: whatever else is wrong with a busy lab is left out."""
    return {**SHORT, "rollout_skip_gates": [gate for gate in ALL_GATES if gate != trouble.gate], **trouble.extra}


def judged(series: Series, trouble: Trouble, stopped: bool, found: str, seconds: float) -> None:
    series.values.append(0 if stopped else 1)
    if not stopped:
        series.failures.append(f"{trouble.gate} ({trouble.what}): {found}")
    print(
        f"{series.title.split()[0]} {trouble.gate}: {trouble.what}: {'stopped' if stopped else 'NOT STOPPED: ' + found}, {seconds:.0f} s", flush=True
    )


def before_a_wave(trouble: Trouble, series: Series, plan: Path) -> None:
    """The trouble is there: the wave must not start, and no account may change."""
    # Without a database nobody can be asked, nor made.
    untouched = steps.accounts() if trouble.gate != "leader" else None
    run = steps.play("rollout_wave", skip_tags="preflight", **{"wave": 1, "rollout_directory": str(plan), **only(trouble)})
    wanted = trouble.says or f"does not start: {trouble.gate} (see"
    found = run.words.partition("does not start: ")[2][:200] or run.words[-400:]
    stopped = bool(run.status) and wanted in run.words
    if untouched is not None and steps.accounts() != untouched:
        stopped, found = False, "accounts were changed behind a closed gate"
    judged(series, trouble, stopped, found, run.seconds)


def while_soaking(trouble: Trouble, series: Series, plan: Path, begins: bool = True) -> None:
    """The trouble begins with the soak: the wave must be taken back by itself, because of this gate."""

    def begin(_: subprocess.Popen[str]) -> None:
        trouble.make()

    at = {"soak | Watch the gates": begin} if begins else {}
    run = steps.play("rollout_wave", at, skip_tags="preflight", wave=1, **{"rollout_directory": str(plan), **only(trouble)})
    states = {row["state"] for row in steps.status().values() if row["wave"] == 1}
    stopped = bool(run.status) and states == {"suspended"} and f"taken back: {trouble.gate} while soaking" in run.words
    judged(series, trouble, stopped, f"organisations are {', '.join(sorted(states))}; {run.words[-400:]}", run.seconds)


def both(trouble: Trouble, exits: Series, entry: Series, plan: Path) -> None:
    """Soaking first; the trouble is then there for the next run."""
    try:
        while_soaking(trouble, exits, plan)
        before_a_wave(trouble, entry, plan)
    finally:
        trouble.end()


def lag(exits: Series, entry: Series, plan: Path, meanwhile: list[Trouble]) -> None:
    """A lag that lasts five minutes takes its time: gates that need no trouble are tried meanwhile."""
    trouble = held_back()
    trouble.make()
    begin = time.monotonic()
    try:
        for each in meanwhile:
            before_a_wave(each, entry, plan)
        time.sleep(max(0, LAG_LASTS - 100 - (time.monotonic() - begin)))
        while_soaking(trouble, exits, plan, begins=False)
        before_a_wave(trouble, entry, plan)
    finally:
        trouble.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="GATE", help="these gates only")
    options = parser.parse_args()
    steps.reset()
    plan = steps.small_plan(soak_minutes=4)
    early, late = before_only()
    entry = Series("entry gates that did not stop a wave", 0, "gates")
    exits = Series("exit gates that did not take a wave back", 0, "gates")
    first = [trouble for trouble in early if not options.only or trouble.gate in options.only]
    if not options.only or "replication_lag_seconds" in options.only:
        lag(exits, entry, plan, first)
    else:
        for trouble in first:
            before_a_wave(trouble, entry, plan)
    for trouble in troubles():
        if not options.only or trouble.gate in options.only:
            both(trouble, exits, entry, plan)
    last = [trouble for trouble in late if not options.only or trouble.gate in options.only]
    if last:
        # A wave with which nothing is wrong comes on board: the gates above do not stop everything.
        quiet = {"rollout_skip_gates": [gate for gate in ALL_GATES if gate not in ("ready", "version", "leader", "backup_hours")]}
        calm = {**SHORT, **quiet, "rollout_directory": str(steps.small_plan(soak_minutes=0.2))}
        steps.must(steps.play("rollout_wave", skip_tags="preflight", wave=1, **calm))
    for trouble in last:
        trouble.make()
        try:
            before_a_wave(trouble, entry, plan)
        finally:
            trouble.end()
    steps.reset()
    notes = [
        "n is the number of conditions. In each run every other gate was left out by name, so that nothing but the named one could stop it.",
        "Before a wave: the run ended with a non-zero exit and the name of the gate, and no account was changed. While soaking: the trouble began "
        "with the soak, and the run took the wave back by itself.",
        "The waves were small (two organisations, six accounts), looked back two minutes instead of an hour, and were soaked with a look every 10 s. "
        "Limits were those of production; only those of connections, disk and CPU were set between what was measured and what the trouble adds, for "
        "the hosts of the lab share one machine.",
        "Aged was the backup by moving the time that the restore drill published back by 25 hours. `leader` was tried before a wave only: with no "
        "database nobody can be shut out, so such a run ends with a non-zero exit and the names of those still on board.",
    ]
    return write("wave_gates", __doc__ or "", [entry, exits], notes)


if __name__ == "__main__":
    sys.exit(main())
