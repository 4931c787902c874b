#!/usr/bin/env python3
"""A wave is cut off in each of its phases: resume ends in the state of a run that was not cut off, with no user made twice and no mail sent twice."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from failover import healthy, leader
from report import Series, container, docker, on, write
from rollout import mails, steps

# A line of the playbook's output with which each phase begins.
PHASES = {
    "plan": "plan | Read and validate the plan",
    "gates": "measure | Ask the application on every host",
    "restore point": "restore_point | Name a point in time",
    "onboard": "onboard | Run the application's command",
    "passwords": "passwords | Read them",
    "prove": "visit | Log in through the balancer",
    "soak": "watch | Wait",
    "finish": "finish | Where the organisations stand",
}
# What does not depend on the moment: ids of records and times do.
SAME = ("code", "wave", "state", "users", "users_enabled", "records", "welcome_mails")
# A resumed run is started again until its gates are open: what a loss left in the last minutes must be over first, as on any night.
PATIENCE, PAUSE = 600, 15
SMALL = {"__rollout_range": "2m", "rollout_soak_check_seconds": 10}


def controller_killed(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def application_host_lost(_: subprocess.Popen[str]) -> None:
    docker("kill", container("web1"))


def database_failover(_: subprocess.Popen[str]) -> None:
    docker("kill", container(leader()))


CUTS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "Ctrl-C": steps.typed_ctrl_c,
    "controller killed": controller_killed,
    "application host lost": application_host_lost,
    "database failover": database_failover,
}
LOSSES = ("application host lost", "database failover")
# A host that is lost before anything was done is what the gates are for. Passwords are only read where no mail delivers them.
EARLY = ("plan", "gates")
CHAINS = [
    ("Ctrl-C", "mail", [phase for phase in PHASES if phase != "passwords"]),
    ("controller killed", "mail", [phase for phase in PHASES if phase != "passwords"]),
    ("application host lost", "mail", [phase for phase in PHASES if phase not in (*EARLY, "passwords")]),
    ("database failover", "mail", [phase for phase in PHASES if phase not in (*EARLY, "passwords")]),
    ("controller killed", "vault", ["onboard", "passwords"]),
    ("application host lost", "vault", ["onboard", "passwords"]),
]


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
    mails.listen()


def nothing() -> None:
    steps.reset()
    mails.forget()


def outcome() -> dict[str, Any]:
    """What must be the same whether a run was cut off or not."""
    return {
        "organisations": [{name: row[name] for name in SAME} for _, row in sorted(steps.status().items())],
        "accounts": sorted(steps.accounts().items()),
        "mails": sorted(mails.taken().items()),
    }


def run(plan: Path, delivery: str, at: dict[str, Callable[[subprocess.Popen[str]], None]] | None = None, **extra: Any) -> steps.Run:
    return steps.play("rollout_wave", at, skip_tags="preflight", wave=1, rollout_directory=str(plan), rollout_delivery=delivery, **SMALL, **extra)


def resume(plan: Path, delivery: str) -> steps.Run:
    """Resume until the gates let the run in."""
    end = time.monotonic() + PATIENCE
    while True:
        done = run(plan, delivery, resume=True)
        if "does not start:" not in done.words or time.monotonic() > end:
            return done
        time.sleep(PAUSE)


def cut(kind: str, phase: str, plan: Path, delivery: str) -> bool:
    """A run that is cut off in a phase; false when it ended without ever being there."""
    happened: list[str] = []

    def act(process: subprocess.Popen[str]) -> None:
        # A moment later, so that the step is under way; those at the end are short.
        time.sleep(0 if phase == "finish" else 1.5)
        happened.append(phase)
        CUTS[kind](process)

    begin = time.monotonic()
    for _ in range(PATIENCE // PAUSE):
        first = run(plan, delivery, {PHASES[phase]: act}, resume=True)
        if happened or "does not start:" not in first.words:
            break
        time.sleep(PAUSE)
    print(f"{kind}, {delivery}: {phase}: ended with {first.status} after {time.monotonic() - begin:.0f} s", flush=True)
    mend()
    return bool(happened)


def chain(kind: str, delivery: str, phases: list[str], plan: Path, wanted: dict[str, Any], series: Series) -> None:
    """A wave that is cut off in one phase after the other, and resumed each time."""
    nothing()
    problems = []
    for phase in phases:
        if not cut(kind, phase, plan, delivery):
            # The wave had come to its end although something was lost: this phase gets a wave of its own.
            problems += differences(kind, delivery, resume(plan, delivery), wanted)
            nothing()
            if not cut(kind, phase, plan, delivery):
                problems.append(f"phase {phase} was never reached")
    problems += differences(kind, delivery, resume(plan, delivery), wanted)
    series.values.append(len(problems))
    series.failures += [f"{kind}, {delivery}: {problem}" for problem in problems]
    print(f"{kind}, {delivery}, {len(phases)} phases: {problems or 'the same as without a cut'}", flush=True)


def differences(kind: str, delivery: str, last: steps.Run, wanted: dict[str, Any]) -> list[str]:
    found = outcome()
    problems = [f"resume: exit status {last.status}: {last.end}"] if last.status else []
    problems += [f"{name} differ from a run that was not cut off: {found[name]}" for name in wanted if wanted[name] != found[name]]
    problems += [f"{count} mails to {address}" for address, count in found["mails"] if count > 1]
    if delivery == "vault":
        passwords = steps.sealed()
        shut = [name for name, _ in found["accounts"] if name not in passwords] + steps.useless(passwords)
        problems += [f"{len(shut)} accounts without a password that opens them, the first is {shut[0]}"] if shut else []
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=CUTS, nargs="+", help="these kinds only")
    parser.add_argument("--apart", action="store_true", help="each cut in a wave of its own, instead of one after the other in the same wave")
    options = parser.parse_args()
    plan, series, wanted = steps.small_plan(soak_minutes=0.5), [], {}
    mails.listen()
    try:
        for delivery in ("mail", "vault"):
            nothing()
            steps.must(run(plan, delivery))
            wanted[delivery] = outcome()
        for kind, delivery, phases in CHAINS:
            if options.kind and kind not in options.kind:
                continue
            series.append(Series(f"{kind}, {delivery}, in {len(phases)} phases: differences after resume", 0, "differences"))
            for group in [[phase] for phase in phases] if options.apart else [phases]:
                chain(kind, delivery, group, plan, wanted[delivery], series[-1])
    finally:
        nothing()
        mails.stop()
    notes = [
        f"Phases: {', '.join(PHASES)}; `passwords` where one-time passwords are sealed in a file, the others with delivery by mail.",
        "A host is lost from the restore point on: before that, a loss is what the gates are for.",
        "Without `--apart`, one wave is cut off in each phase after the other and resumed with `resume=true` each time; a wave that comes to its end "
        "in spite of a loss is compared, and the next phase gets a new one.",
        "The waves have two organisations and six accounts, and are soaked for 30 s.",
        "Compared with a run that was not cut off: organisations, their accounts, records and welcome mails, each mail that a mail server on the "
        "application hosts took (never two to one address), and whether the sealed one-time password of every account opens it.",
        "A resumed run is started again until its gates are open: they look back two minutes here.",
    ]
    if options.kind is None or "Ctrl-C" in options.kind:
        notes.append(f"Ctrl-C was typed again {len(steps.typed_again)} times, since ansible-playbook had not ended 30 s after the one before.")
    name = "_".join(["wave_interrupted", *(kind.lower().replace(" ", "_").replace("-", "_") for kind in options.kind or [])])
    return write(name, __doc__ or "", series, notes)


if __name__ == "__main__":
    sys.exit(main())
