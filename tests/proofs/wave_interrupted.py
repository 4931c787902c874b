#!/usr/bin/env python3
"""A wave is cut off in each of its phases: resume ends in the state of a run that was not cut off, with no user made twice."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from failover import healthy, leader
from report import Series, container, docker, on, write
from rollout import steps

# A line of the playbook's output with which each phase begins.
PHASES = {
    "plan": "plan | Read and validate the plan",
    "gates": "measure | Ask the application on every host",
    "restore point": "restore_point | Name a point in time",
    "onboard": "onboard | Run the application's command",
    "passwords": "passwords | Read them",
    "prove": "visit | Log in through the balancer",
    "soak": "watch | Wait",
    "finish": "finish | Write down how the wave ended",
}
# What does not depend on the moment: ids of records and times do.
SAME = ("code", "wave", "state", "users", "users_enabled", "records", "welcome_mails")


def typed_ctrl_c(process: subprocess.Popen[str]) -> None:
    """As a terminal does it: to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def controller_killed(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def application_host_lost(_: subprocess.Popen[str]) -> None:
    docker("kill", container("web1"))


def database_failover(_: subprocess.Popen[str]) -> None:
    docker("kill", container(leader()))


CUTS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "Ctrl-C": typed_ctrl_c,
    "controller killed": controller_killed,
    "application host lost": application_host_lost,
    "database failover": database_failover,
}
LOSSES = ("application host lost", "database failover")


def mend() -> None:
    """Start every container of the lab that is down, and wait until all is well."""
    down = docker("ps", "-a", "--filter", "status=exited", "--filter", "label=obcms.project", "--format", "{{.Names}}").split()
    for name in down:
        docker("start", name)
    if not down:
        return
    healthy()
    for _ in range(60):
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            if on("web1", "systemctl is-active obcms.socket") == "active":
                break
        time.sleep(2)
    # What the loss left in the last minutes is not what a wave is judged by here.
    time.sleep(130)


def outcome() -> dict[str, Any]:
    """What must be the same whether a run was cut off or not."""
    return {
        "organisations": [{name: row[name] for name in SAME} for _, row in sorted(steps.status().items())],
        "accounts": sorted(steps.accounts().items()),
    }


def cut(phase: str, kind: str, wanted: dict[str, Any], series: Series) -> None:
    steps.reset()
    happened: list[str] = []

    def act(process: subprocess.Popen[str]) -> None:
        # A moment later, so that the step is under way.
        time.sleep(1.5)
        happened.append(phase)
        CUTS[kind](process)

    first = steps.play("rollout_wave", {PHASES[phase]: act}, wave=1, __rollout_range="2m")
    mend()
    second = steps.play("rollout_wave", wave=1, resume=True, __rollout_range="2m")
    found, passwords = outcome(), steps.sealed()
    problems = [] if happened else ["the phase was never reached"]
    problems += [f"resume: exit status {second.status}: {second.words[-300:]}"] if second.status else []
    problems += [f"{name} differ from a run that was not cut off" for name in wanted if wanted[name] != found[name]]
    if shut := [name for name, _ in found["accounts"] if name not in passwords] + steps.useless(passwords):
        problems.append(f"{len(shut)} accounts without a password that opens them, the first is {shut[0]}")
    series.values.append(len(problems))
    series.failures += [f"{kind} in phase {phase}: {problem}" for problem in problems]
    print(
        f"{kind} in phase {phase}: first run ended with {first.status}, resume {'ok' if not problems else problems}, {second.seconds:.0f} s",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", choices=PHASES, nargs="+", help="these phases only")
    parser.add_argument("--kind", choices=CUTS, nargs="+", help="these kinds only")
    options = parser.parse_args()
    steps.reset()
    steps.must(steps.wave(1))
    wanted = outcome()
    series = []
    for kind in options.kind or CUTS:
        series.append(Series(f"{kind}: differences after resume", 0, "differences"))
        for phase in options.phase or PHASES:
            # A host that is lost before anything was done is what the gates are for.
            if kind not in LOSSES or phase not in ("plan", "gates"):
                cut(phase, kind, wanted, series[-1])
    notes = [
        f"Phases: {', '.join(PHASES)}. n is the number of phases in which the run was cut off; each began with no organisation on board.",
        "Compared are organisations, their accounts and records, and whether the sealed one-time password of every account opens it.",
        "The lab has no mail server: that no mail goes out twice is tested in tests/app/test_onboarding.py, where the mail is cut off in the middle.",
    ]
    return write("wave_interrupted", __doc__ or "", series, notes)


if __name__ == "__main__":
    sys.exit(main())
