#!/usr/bin/env python3
"""Conducts a switchover: one process with a line to every pooler and to the two members, so that poolers are held for no longer than needed.

Reads the plan from stdin, prints what was measured as JSON. Run by playbooks/switchover.yml; not meant to be run by hand.
  {"leader": "db1", "candidate": "db2", "pause_seconds": 3, "switch_seconds": 10,
   "candidate_address": "192.0.2.42",
   "poolers": {"web1": ["ssh", ...]}, "members": {"db1": ["ssh", ...], "db2": ["ssh", ...], "db3": ["ssh", ...]}}
A line that is lost resumes its pooler by itself, and so does a pooler that nobody has told anything for too long.

Exit status: 0 when the candidate leads, 1 when it does not; in both cases every pooler was told to go on.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

READY_SECONDS = 20.0
CHECKPOINT_SECONDS = 120.0
RESUME_SECONDS = 8.0
# An answer travels; what is asked for has its own limit on the other side.
ANSWER_SECONDS = 2.0


class SwitchFailed(Exception):
    """The switchover did not happen; the text says where and why."""


class Line:
    """A host's helper at the other end of a pipe: a command goes out, one answer comes back."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for row in self.process.stdout:
            self.answers.put(row.strip())
        self.answers.put("")

    def say(self, words: str) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(words + "\n")
            self.process.stdin.flush()
        except OSError:
            self.answers.put("")

    def answer(self, until: float) -> str:
        """The next answer; SwitchFailed when the line is silent or lost."""
        try:
            row = self.answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise SwitchFailed(f"{self.name} does not answer in time") from None
        if not row:
            raise SwitchFailed(f"{self.name}: the line to it was lost: {self._last_words() or 'no reason given'}")
        return row

    def _last_words(self) -> str:
        assert self.process.stderr
        try:
            # Its output has ended; itself it ends a moment later.
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return ""
        return " ".join(self.process.stderr.read().strip().splitlines()[-2:])[-300:]

    def close(self) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.close()
            self.process.wait(timeout=RESUME_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


def done(line: Line, until: float) -> None:
    """Wait for the answer; SwitchFailed unless the host did what it was told."""
    row = line.answer(until)
    if not row.startswith(("done ", "ready")):
        raise SwitchFailed(f"{line.name}: {row.removeprefix('failed ')}")


def everywhere(lines: Iterable[Line], words: str, seconds: float) -> list[str]:
    """Tell all of them the same at once, and collect what went wrong."""
    told = list(lines)
    for line in told:
        line.say(words)
    return answers(told, seconds)


def answers(lines: Iterable[Line], seconds: float) -> list[str]:
    """One answer of each, and what went wrong."""
    problems = []
    until = time.monotonic() + seconds
    for line in lines:
        try:
            done(line, until)
        except SwitchFailed as failure:
            problems.append(str(failure))
    return problems


def must(problems: list[str]) -> None:
    if problems:
        raise SwitchFailed("; ".join(problems))


def warn(problems: list[str]) -> None:
    for problem in problems:
        print(f"switchover: {problem}", file=sys.stderr)


def helpful(others: Iterable[Line]) -> list[Line]:
    """Those of the other members that are ready to follow a new leader at once; of the rest it is only told."""
    ready = []
    for line in others:
        problems = answers([line], READY_SECONDS) or everywhere([line], "checkpoint", CHECKPOINT_SECONDS)
        warn(problems)
        ready += [] if problems else [line]
    return ready


def conduct(plan: Mapping[str, Any], poolers: list[Line], leader: Line, candidate: Line, others: list[Line]) -> dict[str, float]:
    """Hold, move, let go. Returns the seconds of each phase.

    Without the other members the move takes longer, but it takes place: what goes wrong with them is only told.
    """
    times: dict[str, float] = {}
    for line in [*poolers, leader, candidate]:
        done(line, time.monotonic() + READY_SECONDS)
    must(everywhere([leader, candidate], "checkpoint", CHECKPOINT_SECONDS))
    helpers = helpful(others)
    # A second one finds little to do, and so does the one that Patroni makes when it stops the leader.
    must(everywhere([leader], "checkpoint", CHECKPOINT_SECONDS))
    begin, go_on = time.monotonic(), "resume"
    try:
        must(everywhere(poolers, f"pause {plan['pause_seconds']}", float(plan["pause_seconds"]) + ANSWER_SECONDS))
        times["hold"] = time.monotonic() - begin
        candidate.say(f"watch {plan['switch_seconds']}")
        leader.say(f"switch {plan['leader']} {plan['candidate']}")
        # Patroni says no at once, and yes when all is over: only the candidate's word that it takes writes is waited for.
        await_leader(candidate, leader, float(plan["switch_seconds"]) + ANSWER_SECONDS)
        times["switch"] = time.monotonic() - begin - times["hold"]
        go_on = f"follow {plan['candidate']}"
        for line in helpers:
            line.say(f"follow {plan['candidate_address']}")
    finally:
        problems = everywhere(poolers, go_on, RESUME_SECONDS)
        times["held"] = time.monotonic() - begin
    # A pooler that could not be told goes on by itself; the leader has moved all the same.
    warn(problems + answers(helpers, RESUME_SECONDS))
    return times


def await_leader(candidate: Line, leader: Line, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not candidate.answers.empty():
            done(candidate, until)
            return
        if not leader.answers.empty():
            done(leader, until)
            done(candidate, until)
            return
        time.sleep(0.005)
    raise SwitchFailed(f"{candidate.name} does not lead after {seconds:g} s")


def main() -> int:
    plan = json.load(sys.stdin)
    lines = {name: Line(name, command) for name, command in {**plan["poolers"], **plan["members"]}.items()}
    poolers = [lines[name] for name in plan["poolers"]]
    others = [lines[name] for name in plan["members"] if name not in (plan["leader"], plan["candidate"])]
    result: dict[str, Any] = {"moved": False, "problem": "", "times": {}}
    try:
        times = conduct(plan, poolers, lines[plan["leader"]], lines[plan["candidate"]], others)
        result.update(moved=True, times={name: round(seconds, 3) for name, seconds in times.items()})
    except SwitchFailed as failure:
        result["problem"] = str(failure)
    finally:
        for line in lines.values():
            line.close()
    print(json.dumps(result))
    return 0 if result["moved"] else 1


if __name__ == "__main__":
    sys.exit(main())
