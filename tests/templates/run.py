#!/usr/bin/env python3
"""Whether the real programs take what the templates give for 20 fleets of 1 to 60 hosts. One host of the lab's image runs them all."""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import fleets

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "lab"), str(PROJECT / "scripts")]
import hosts  # noqa: E402
import render  # noqa: E402

NAME = "obcms-templates"
PACKAGES = (
    "haproxy keepalived nftables nginx pgbouncer postgresql-17 prometheus prometheus-alertmanager prometheus-blackbox-exporter"
    " python3-yaml redis-server"
)


def on_host(*command: str) -> str:
    """Output of a command on the host; CalledProcessError with its words otherwise."""
    done = subprocess.run(["docker", "exec", f"{NAME}-checker", *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {done.returncode}: {done.stderr[-800:]}")
    return done.stdout


def start_host() -> None:
    hosts.up(NAME, [{"name": "checker", "memory_mb": 1536}])
    # Nothing is to be started by its package.
    on_host("sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d")
    on_host("sh", "-c", f"DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends {PACKAGES}")
    subprocess.run(["docker", "cp", "-q", str(Path(__file__).with_name("accept.py")), f"{NAME}-checker:/root/accept.py"], check=True)


def render_fleet(number: int, folder: Path) -> tuple[str, list[str]]:
    """Render one fleet; its name and what could not be rendered."""
    inventory = fleets.write(number, folder / "inventories")
    with open(os.devnull, "w") as sink:
        sys.stdout, before = sink, sys.stdout
        try:
            # keepalived takes eight characters.
            secrets = {**render.masked_secrets(), "keepalived_password": "hidden.k"}
            return inventory.name, render.render(inventory, folder / "rendered" / inventory.name, secrets)
        finally:
            sys.stdout = before


def judge(name: str, *words: str) -> list[dict[str, object]]:
    """Answers of all programs about one fleet."""
    return [json.loads(line) for line in on_host("python3", "/root/accept.py", f"/root/rendered/{name}", *words).splitlines()]


def main() -> int:
    begin = time.monotonic()
    problems: list[str] = []
    asked: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ProcessPoolExecutor(2) as pool:
        folder = Path(scratch)
        rendering = [pool.submit(render_fleet, number, folder) for number in reversed(range(len(fleets.SIZES)))]
        try:
            start_host()
            names: list[str] = []
            checks: dict[str, list[str]] = {}
            for done in concurrent.futures.as_completed(rendering):
                name, unrendered = done.result()
                problems += [f"{name}: {problem}" for problem in unrendered]
                names.append(name)
            subprocess.run(["docker", "cp", "-q", str(folder / "rendered"), f"{NAME}-checker:/root/rendered"], check=True)
            for name in sorted(names):
                answers = judge(name)
                checks[name] = [str(answer["check"]) for answer in answers]
                asked.update(checks[name])
                refused = [f"{name}: {answer['host']}: {answer['check']}: {answer['said']}" for answer in answers if not answer["ok"]]
                problems += refused
                print(f"{name}: {len(answers)} answers, {len(refused)} refused", flush=True)
            mistakes: list[dict[str, object]] = []
            for name in sorted(checks, reverse=True):
                if untried := set(checks[name]) - {str(answer["check"]) for answer in mistakes}:
                    mistakes += judge(name, "--break", *sorted(untried))
            problems += [f"a mistake was not found by {answer['check']}" for answer in mistakes if answer["ok"]]
            problems += [f"no mistake was tried on {check}" for check in asked if check not in {answer["check"] for answer in mistakes}]
            print(f"{len(mistakes)} mistakes put in, {sum(not answer['ok'] for answer in mistakes)} found", flush=True)
        finally:
            hosts.down(NAME)
    print("\n".join(f"{count:5} x {check}" for check, count in sorted(asked.items())))
    print("\n".join(problems))
    given, seconds = sum(asked.values()), time.monotonic() - begin
    print(f"{len(fleets.SIZES)} fleets, {sum(fleets.SIZES)} hosts, {given} answers, {len(problems)} problems, {seconds:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
