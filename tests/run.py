#!/usr/bin/env python3
"""Runs the stages of bin/test, prints the time of each, keeps the evidence of a failed one in test-output/."""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
OUTPUT = PROJECT / "test-output"
LAB = ["-i", "inventories/lab"]
# Most of a scenario is waiting for its hosts: three at a time keep two cores busy.
SCENARIOS_AT_ONCE = 3
# Playbooks of a lab wait for its hosts half of the time: one scenario at a time runs beside it once it stands, and all lanes when it is done.
LAB_STANDS, LAB_IS_DONE, LAB_FAILED = threading.Event(), threading.Event(), threading.Event()
LAB_STANDS.set()
LAB_IS_DONE.set()
# A few that failed beside others are tried once more by themselves, and the table says so: a host that was late is told from a role that is broken.
TRIED_AGAIN = 2
# Also for so long after the time in which scenarios begin: one of them, alone, takes less than five minutes.
TRIED_AGAIN_SECONDS = 480
# They build the same release, which the first of them leaves to the others.
ONE_AFTER_THE_OTHER = ("app", "celery", "rollout")
BASE_VERSION, NEXT_VERSION, WAVE = "1.0.0", "1.0.1", "1"

# On bare hosts, and on converged ones.
CHECKS_OF_A_SCENARIO = 2

Result = tuple[str, bool, float]


class StageFailed(Exception):
    """A step of a stage failed; the text says which and where its output is."""


def step(name: str, *command: str, expect: str | None = None, variables: Mapping[str, str] | None = None) -> str:
    """Run one command with its output in test-output/NAME.log; StageFailed when it fails or `expect` does not match."""
    log = OUTPUT / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.log"
    start = time.monotonic()
    print(f"  {name} ...", flush=True)
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"} | dict(variables or {})
    with log.open("w") as sink:
        done = subprocess.run(command, cwd=PROJECT, stdout=sink, stderr=subprocess.STDOUT, check=False, env=environment)
    text = log.read_text(errors="replace")
    good = done.returncode == 0 and (expect is None or re.search(expect, text) is not None)
    print(f"  {name}: {'ok' if good else 'FAILED'} after {time.monotonic() - start:.0f} s", flush=True)
    if not good:
        tail = "\n".join(text.splitlines()[-60:])
        wanted = "" if expect is None else f", expected {expect!r}"
        raise StageFailed(f"{name}: exit status {done.returncode}{wanted}; {log.relative_to(PROJECT)}:\n{tail}")
    return text


# The longest first: they run two at a time.
LINTERS: dict[str, list[str]] = {
    "ansible-lint": ["ansible-lint", "--offline", "--strict"],
    "yamllint": ["yamllint", "--strict", "."],
    "mypy": ["mypy", "filter_plugins", "library", "scripts", "lab/hosts.py", "lab/image.py", "lab/lab.py", "tests/run.py", "tests/templates"],
    # By themselves: a proof may have the name of a script.
    "mypy of the proofs": ["mypy", "--cache-dir", ".mypy_cache/proofs", "tests/proofs"],
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "syntax of prod": ["ansible-playbook", "site.yml", "-i", "inventories/prod", "--syntax-check"],
    "tasks of prod": ["ansible-playbook", "site.yml", "-i", "inventories/prod", "--list-tasks"],
}


def lint() -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(step, name, *command) for name, command in LINTERS.items()]
    if failed := [str(error) for run in runs if (error := run.exception())]:
        raise StageFailed("\n".join(failed))


def unit() -> None:
    text = step("pytest", "pytest", "-q", "-n", "2", "--dist", "worksteal", "tests")
    print("\n".join(text.splitlines()[-1:]))


def scenario(name: str) -> Result:
    """Test one scenario on hosts of its own; they stay until their logs are kept."""
    start, good, project = time.monotonic(), True, f"obcms-molecule-{name}"
    # What molecule remembers of a run that was cut off would be hosts that are gone.
    memory = PROJECT / ".cache" / "molecule" / name
    shutil.rmtree(memory, ignore_errors=True)
    remove = [sys.executable, "lab/hosts.py", "down", project]
    try:
        subprocess.run(remove, cwd=PROJECT, check=True)
        words = ["molecule", "test", "-s", name, "--destroy=never"]
        text = step(f"molecule {name}", *words, variables={"MOLECULE_EPHEMERAL_DIRECTORY": str(memory)})
        unchanged(last_check(text), f"{name} in check mode")
    except StageFailed as failure:
        print(failure, flush=True)
        keep_evidence(project)
        good = False
    finally:
        subprocess.run(remove, cwd=PROJECT, check=False)
    return name, good, time.monotonic() - start


def last_check(text: str) -> str:
    """What check mode said on converged hosts, which molecule itself does not judge; StageFailed when the output has no such part."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", text)
    parts = re.findall(r"> check\] Executing\n(.*?)^\S+ +\[\S+ > check\] Executed", said, re.DOTALL | re.MULTILINE)
    if len(parts) != CHECKS_OF_A_SCENARIO:
        raise StageFailed(f"{len(parts)} runs in check mode instead of {CHECKS_OF_A_SCENARIO} are in the output of molecule")
    return str(parts[-1])


def hosts_of(name: str) -> int:
    """How many hosts the scenario has."""
    return (PROJECT / "molecule" / name / "molecule.yml").read_text().count("memory_mb:")


def lanes(names: list[str], jobs: int, until: float) -> list[Result]:
    """All scenarios, so many at once. The first lane begins with the small ones, the next with the large: two large ones seldom meet.

    None begins after `until` (seconds of time.time()). Beside a lab there is one lane until it is done, and none goes on when it has failed.
    """
    together = [name for name in ONE_AFTER_THE_OTHER if name in names]
    queue = deque([[name] for name in names if name not in together])
    queue.extendleft([together] if together else [])
    results: list[Result] = []

    def lane(number: int) -> None:
        if number > 0:
            LAB_IS_DONE.wait()
        while True:
            try:
                chosen = queue.popleft() if number % 2 else queue.pop()
            except IndexError:
                return
            results.extend(scenario(name) for name in chosen if time.time() < until and not LAB_FAILED.is_set())

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def roles(names: list[str], jobs: int = SCENARIOS_AT_ONCE, until: float = math.inf) -> None:
    LAB_STANDS.wait()
    step("Docker engine", "bin/setup")
    step("secrets of the lab", "bin/secrets", "inventories/lab")
    step("host image", sys.executable, "lab/image.py")
    chosen = names or sorted((path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml")), key=hosts_of, reverse=True)
    rows = lanes(chosen, jobs, until)
    begun = {name for name, _, _ in rows}
    again = [name for name, good, _ in rows if not good]
    rows += [scenario(name) for name in again if jobs > 1 and len(again) <= TRIED_AGAIN and time.time() < until + TRIED_AGAIN_SECONDS]
    print("\n".join(f"    {name:<20} {'passed' if good else 'FAILED'} {seconds:6.0f} s" for name, good, seconds in rows))
    passed = {name for name, good, _ in rows if good}
    if late := passed & set(again):
        print(f"    failed beside others, passed alone: {', '.join(sorted(late))}; what they said is above")
    if left := [name for name in chosen if name not in begun]:
        print(f"    NOT RUN, there was no time left: {', '.join(left)}")
    if failures := [name for name in chosen if name in begun and name not in passed]:
        raise StageFailed(f"{len(failures)} of {len(chosen)} scenarios failed: {', '.join(failures)}")


def templates() -> None:
    step("Docker engine", "bin/setup")
    text = step("templates before the real programs", sys.executable, "tests/templates/run.py")
    print(f"  {text.splitlines()[-1]}")


def unchanged(text: str, name: str) -> None:
    """StageFailed unless every host of a recap has changed=0."""
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", text, re.MULTILINE)
    busy = [f"{host} changed={count}" for host, count in recap if count != "0"]
    if busy or not recap:
        changed = re.findall(r"^TASK \[.*?\].*\n(?:(?!TASK|PLAY).*\n)*?changed: .*", text, re.MULTILINE)
        raise StageFailed(f"{name} is not unchanged: {', '.join(busy) or 'no recap'}\n" + "\n".join(changed[:20]))


def lab() -> None:
    deploy = ["ansible-playbook", *LAB, "playbooks/deploy.yml", "-e"]
    rollback = ["ansible-playbook", *LAB, "playbooks/rollback.yml", "-e"]
    verify = ["ansible-playbook", *LAB, "playbooks/verify.yml"]
    step("lab from nothing", "bin/lab", "reset")
    LAB_STANDS.set()
    step(f"deploy {NEXT_VERSION}", *deploy, f"app_version={NEXT_VERSION}")
    step(f"wave {WAVE}", "ansible-playbook", *LAB, "playbooks/rollout_wave.yml", "-e", f"wave={WAVE}")
    step("roll back the wave", *rollback, "scope=wave", "-e", f"wave={WAVE}")
    step("roll back the release", *rollback, "scope=release")
    step("verify", *verify)
    # After all that, so that it tells as well what has moved.
    unchanged(step("site.yml again", "ansible-playbook", *LAB, "site.yml"), "site.yml again")


def lab_beside_scenarios() -> None:
    """The stage `lab`, which makes room for the scenarios when it is done."""
    try:
        lab()
        LAB_IS_DONE.set()
        step("remove the lab", "bin/lab", "down")
    except StageFailed:
        LAB_FAILED.set()
        raise
    finally:
        LAB_STANDS.set()
        LAB_IS_DONE.set()


# Where roles put their files and services their logs; keys stay where they are.
KEPT_PATHS = (
    "etc/obcms etc/default etc/haproxy etc/keepalived etc/nginx etc/patroni etc/pgbouncer etc/prometheus etc/redis etc/systemd/system var/log"
)


def keep_evidence(project: str = "") -> None:
    """Journal, failed units, configuration and logs of every host of a project (of all without one), beside the logs of the steps."""

    def output(*command: str) -> bytes:
        return subprocess.run(command, capture_output=True, check=False).stdout

    label = f"label=obcms.project={project}" if project else "label=obcms.project"
    for name in output("docker", "ps", "--all", "--filter", label, "--format", "{{.Names}}").decode().split():
        folder = OUTPUT / "hosts" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "journal.log").write_bytes(output("docker", "exec", name, "journalctl", "--no-pager", "-n", "5000"))
        (folder / "failed-units.txt").write_bytes(output("docker", "exec", name, "systemctl", "--no-pager", "status", "--failed"))
        pack = f"cd / && tar -cf - --exclude='*.key' --exclude='*/journal/*' --ignore-failed-read $(ls -d {KEPT_PATHS} 2>/dev/null)"
        subprocess.run(
            ["tar", "-xf", "-", "-C", str(folder)], input=output("docker", "exec", name, "sh", "-c", pack), capture_output=True, check=False
        )
    print(f"logs, and journals and configuration of the hosts: {OUTPUT.relative_to(PROJECT)}/", flush=True)


def run_stage(name: str, action: Callable[[], None]) -> Result:
    print(f"== {name}", flush=True)
    start = time.monotonic()
    try:
        action()
        good = True
    except StageFailed as failure:
        print(failure, flush=True)
        if name != "roles":
            keep_evidence()
        good = False
    return name, good, time.monotonic() - start


def wanted(words: list[str]) -> argparse.Namespace:
    """`[-j N] [--until TIME] [STAGE ...]`, or names of scenarios after the stage `roles`; SystemExit when it is nonsense."""
    parser = argparse.ArgumentParser(prog="bin/test")
    parser.add_argument(
        "-j", type=int, choices=range(1, 9), default=SCENARIOS_AT_ONCE, metavar="N", help="so many scenarios at once (default: %(default)s)"
    )
    parser.add_argument(
        "--until", type=float, default=math.inf, metavar="TIME", help="begin no scenario after this time (date +%%s); those left are named"
    )
    parser.add_argument("names", nargs="*", metavar="STAGE", help="default: lint, unit, lab; after the stage roles, names of scenarios")
    given = parser.parse_intermixed_args(words)
    present = {path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml")}
    if given.names[:1] == ["roles"] and (unknown := sorted(set(given.names[1:]) - present)):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(sorted(present))}")
    return given


def at_once(names: list[str]) -> list[list[str]]:
    """Stages in groups that run together: the longest linter leaves a core idle, and a lab that waits for its hosts some of both."""
    groups = [[name for name in names if name in pair] for pair in (("lint", "unit"), ("templates",), ("lab", "roles"))]
    return [group for group in groups if group]


def main(argv: list[str]) -> int:
    given = wanted(argv[1:])
    names: list[str] = given.names or ["lint", "unit", "lab"]
    stages: dict[str, Callable[[], None]] = {
        "lint": lint,
        "unit": unit,
        "templates": templates,
        "roles": lambda: roles(names[1:] if names[0] == "roles" else [], given.j, given.until),
        "lab": lab,
    }
    if names[0] == "roles":
        chosen = {"roles": stages["roles"]}
    elif names == ["all"]:
        chosen = {name: stages[name] for name in ("lint", "unit", "templates", "roles", "lab")}
    elif unknown := [name for name in names if name not in stages]:
        print(f"bin/test: unknown stage {unknown[0]}; stages: lint, unit, templates, roles [NAME ...], lab, all", file=sys.stderr)
        return 2
    else:
        chosen = {name: stages[name] for name in names}
    if {"lab", "roles"} <= set(chosen):
        chosen["lab"] = lab_beside_scenarios
        LAB_STANDS.clear()
        LAB_IS_DONE.clear()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    results: list[Result] = []
    for group in at_once(list(chosen)):
        with ThreadPoolExecutor(len(group)) as pool:
            results += pool.map(run_stage, group, [chosen[name] for name in group])
        if not all(good for _, good, _ in results):
            break
    print("\n" + "\n".join(f"{name:<9} {'passed' if good else 'FAILED':<7} {seconds / 60:5.1f} min" for name, good, seconds in results))
    passed = sum(good for _, good, _ in results)
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
