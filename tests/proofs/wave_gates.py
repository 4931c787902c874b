#!/usr/bin/env python3
"""Every gate of a wave stops it: each condition is made real on the lab, before a wave and while one soaks."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Series, write
from rollout import steps
from rollout.troubles import ALL_GATES, LAG_LASTS, SCRAPED, Trouble, early, groups, held_back, late, silent, soaking

# Gates look back an hour, and soaking a minute; here both look back two minutes, so that one trouble is forgotten before the next is made.
SHORT: dict[str, Any] = {"__rollout_range": "2m", "rollout_soak_check_seconds": 10}
CLOSED = re.compile(r"Wave 1: ([a-z0-9_, ]+) closed \(see")


def only(*gates: str) -> dict[str, Any]:
    """Nothing but these gates may stop the run: whatever else is wrong with a busy lab is left out."""
    return {**SHORT, "rollout_skip_gates": [gate for gate in ALL_GATES if gate not in gates]}


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
    run = steps.play("rollout_wave", skip_tags="preflight", **{"wave": 1, "rollout_directory": str(plan), **only(trouble.gate), **trouble.extra})
    found = run.words.partition("does not start: ")[2][:200] or run.end
    stopped = bool(run.status) and f"does not start: {trouble.gate} (see" in run.words
    if untouched is not None and steps.accounts() != untouched:
        stopped, found = False, "accounts were changed behind a closed gate"
    judged(series, trouble, stopped, found, run.seconds)


def all_entries(series: Series, plan: Path, chosen: Sequence[str]) -> None:
    for group in groups():
        wanted = [trouble for trouble in group if not chosen or trouble.gate in chosen]
        made: list[Trouble] = []
        try:
            for trouble in wanted:
                made.append(trouble)
                trouble.make()
            time.sleep(SCRAPED if made else 0)
            for trouble in made:
                before_a_wave(trouble, series, plan)
        finally:
            for trouble in made:
                trouble.end()


def lag_before_a_wave(series: Series, plan: Path, meanwhile: Sequence[Trouble]) -> None:
    """A lag that lasts five minutes takes its time: gates that need no trouble are tried meanwhile."""
    trouble = held_back()
    trouble.make()
    begin = time.monotonic()
    try:
        for each in meanwhile:
            before_a_wave(each, series, plan)
        time.sleep(max(0, LAG_LASTS - (time.monotonic() - begin)))
        before_a_wave(trouble, series, plan)
    finally:
        trouble.end()


def taken_back(trouble: Trouble, series: Series, plan: Path) -> None:
    """The trouble begins with the soak: the wave must be taken back by itself, because of this gate."""

    def begin(_: subprocess.Popen[str]) -> None:
        trouble.make()

    try:
        run = steps.play(
            "rollout_wave", {"soak | Watch the gates": begin}, skip_tags="preflight", wave=1, rollout_directory=str(plan), **only(trouble.gate)
        )
    finally:
        trouble.end()
    states = {row["state"] for row in steps.status().values() if row["wave"] == 1}
    stopped = bool(run.status) and states == {"suspended"} and f"taken back: {trouble.gate} while soaking" in run.words
    judged(series, trouble, stopped, f"organisations are {', '.join(sorted(states))}; {run.end}", run.seconds)


def all_exits(series: Series, plan: Path, chosen: Sequence[str]) -> None:
    """One wave that asks: each trouble in turn closes its gate, and somebody types "go on" until the last one, after which it is taken back."""
    lag = held_back()
    waiting = [trouble for trouble in soaking() if not chosen or trouble.gate in chosen]
    open_gates = {gate for trouble in waiting for gate in (trouble.gate, *trouble.also)}
    if not chosen or lag.gate in chosen:
        open_gates.add(lag.gate)
    begun: list[Trouble] = []
    times: dict[str, float] = {}
    limits = {"rollout_limits": {name: value for trouble in waiting for name, value in trouble.extra.get("rollout_limits", {}).items()}}

    def following() -> None:
        while waiting:
            begun.append(waiting.pop(0))
            if begun[-1].gate not in times:
                begun[-1].make()
                return

    def first() -> None:
        if lag.gate in open_gates:
            lag.make()
        following()

    def answer(words: str) -> str:
        for gate in CLOSED.findall(words)[-1].split(", "):
            times.setdefault(gate, time.monotonic())
            print(f"exit {gate} closed", flush=True)
        if begun and begun[-1].gate in times:
            begun[-1].end()
            following()
        return "back" if set(times) >= open_gates else "go on"

    begin = time.monotonic()
    try:
        run = steps.typed(
            "rollout_wave", "takes the wave back", answer, {"soak | Watch the gates": first}, skip_tags="preflight", wave=1,
            rollout_directory=str(plan), rollout_soak_action="ask", **only(*open_gates), **limits,
        )  # fmt: skip
    finally:
        for trouble in [*begun, lag]:
            trouble.end()
    for gate in sorted(open_gates):
        what = next((trouble.what for trouble in [*begun, lag] if gate in (trouble.gate, *trouble.also)), "not begun")
        judged(series, Trouble(gate, what), gate in times, f"never closed; {run.end}", times.get(gate, begin) - begin)
    states = {row["state"] for row in steps.status().values() if row["wave"] == 1}
    if not run.status or states != {"suspended"}:
        series.failures.append(f"the wave was not taken back at the end: exit status {run.status}, organisations are {', '.join(sorted(states))}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="GATE", default=[], help="these gates only")
    parser.add_argument("--part", nargs="+", choices=["entry", "exit"], default=["entry", "exit"], help="one half only")
    options = parser.parse_args()
    entry = Series("entry gates that did not stop a wave", 0, "gates")
    exits = Series("exit gates that did not stop a wave", 0, "gates")
    steps.reset()
    plan = steps.small_plan(soak_minutes=8)

    def wanted(troubles: Sequence[Trouble]) -> list[Trouble]:
        return [trouble for trouble in troubles if not options.only or trouble.gate in options.only]

    try:
        if "entry" in options.part:
            if wanted([held_back()]):
                lag_before_a_wave(entry, plan, wanted(early()))
            else:
                for trouble in wanted(early()):
                    before_a_wave(trouble, entry, plan)
            all_entries(entry, plan, options.only)
        if "exit" in options.part:
            for trouble in wanted([silent()]):
                taken_back(trouble, exits, steps.small_plan(soak_minutes=2))
            all_exits(exits, plan, options.only)
        if "entry" in options.part and wanted(late()):
            # A wave with which nothing is wrong comes on board: the gates above do not stop everything.
            calm = {**only("ready", "version", "leader", "backup_hours"), "rollout_directory": str(steps.small_plan(soak_minutes=0.2))}
            steps.must(steps.play("rollout_wave", skip_tags="preflight", wave=1, **calm))
            for trouble in wanted(late()):
                try:
                    trouble.make()
                    before_a_wave(trouble, entry, plan)
                finally:
                    trouble.end()
    finally:
        steps.reset()
    notes = [
        "n is the number of conditions. Before a wave, each run had every other gate left out by name, so that nothing but the named one could "
        "stop it: it ended with a non-zero exit and the name of the gate, and no account was changed.",
        "While soaking, one wave asked at a terminal (`rollout_soak_action: ask`) each time a gate closed; 'go on' was typed until every gate had "
        "closed, then it was told to take the wave back. With Prometheus stopped, a wave was taken back by itself (`take_back`, the default).",
        "The waves were small (two organisations, six accounts), looked back two minutes instead of an hour, and were soaked with a look every 10 s. "
        "Limits were those of production; only those of connections, disk and CPU were set between what was measured and what the trouble adds, for "
        "the hosts of the lab share one machine.",
        "The backup was aged by moving back by 25 hours the time that the restore drill had published. `leader` was tried before a wave only: with "
        "no database nobody can be shut out, so such a run ends with a non-zero exit and the names of those still on board.",
    ]
    name = "_".join(["wave_gates", *(options.part if len(options.part) == 1 else []), *options.only])
    return write(name, __doc__ or "", [series for series in (entry, exits) if series.title.split()[0] in options.part], notes)


if __name__ == "__main__":
    sys.exit(main())
