#!/usr/bin/env python3
"""Whether the scenario of each role fails when the role is broken: a listed fault is put into converged hosts, and their verify must find it."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import yaml

from report import PROJECT, docker, machine

FAULTS = yaml.safe_load((PROJECT / "tests" / "faults" / "faults.yml").read_text())
LOGS = PROJECT / ".cache" / "faults"
# It keeps the results of the roles that this run leaves out, so that it can be completed in several runs.
PAGE = PROJECT / "docs" / "proofs" / "faults.md"


def molecule(word: str, role: str) -> tuple[int, str]:
    """Exit status and output of one step of the role's scenario."""
    # molecule breaks lines at the width of a terminal, draws a frame around them, and colours both.
    environment = os.environ | {"COLUMNS": "1000"}
    done = subprocess.run(["molecule", word, "-s", role], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    output = re.sub(r"^\s*│ ?", "", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr), flags=re.MULTILINE)
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"{role}-{word}.log").write_text(output)
    return done.returncode, output


def complaint(output: str) -> str:
    """What verify said: the failed test, or the failed task and its message."""
    if tests := re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", output, re.MULTILINE):
        return ", ".join(tests[:3])
    tasks = list(re.finditer(r"^TASK \[(.*?)\]", output, re.MULTILINE))
    fatal = [found.start() for found in re.finditer(r"^(?:fatal|failed): ", output, re.MULTILINE)]
    before = [task[1] for task in tasks if fatal and task.start() < fatal[-1]]
    return before[-1] if before else "unknown"


def where(output: str) -> str:
    """The part of the output that tells of the failure: from the task that failed last to the end."""
    fatal = [found.start() for found in re.finditer(r"^(?:fatal|failed): ", output, re.MULTILINE)]
    return output[max(output.rfind("\nTASK [", 0, fatal[-1]), 0) :] if fatal else output


def prove(role: str, converged: bool) -> dict[str, object]:
    """Converge the scenario, put the fault in, verify, remove the hosts."""
    begin = time.monotonic()
    found, said = broken(role, converged)
    return {"role": role, "found": found, "said": said, "seconds": time.monotonic() - begin}


def broken(role: str, converged: bool) -> tuple[bool, str]:
    """Whether verify found the fault, and what it said."""
    if not converged:
        molecule("destroy", role)
    try:
        status, output = (0, "") if converged else molecule("converge", role)
        if status != 0:
            return False, f"converge failed: {complaint(output)}"
        for host in FAULTS[role]["hosts"]:
            docker("exec", f"obcms-molecule-{role}-{host}", "bash", "-c", FAULTS[role]["command"])
        status, output = molecule("verify", role)
        said = complaint(output) if status else "verify passed"
        # For another reason, say a host that was slow, is not found.
        return status != 0 and FAULTS[role]["at"] in where(output), said
    finally:
        molecule("destroy", role)


def rows() -> dict[str, str]:
    """Row of each role that the page has a result of."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    cells = {line: line.strip("| ").split(" | ") for line in lines if line.startswith("| ")}
    return {cell[0]: line for line, cell in cells.items() if cell[0] in FAULTS and cell[-1] != "not run"}


def row(result: dict[str, object], when: str) -> str:
    """One line of the page."""
    role, said = str(result["role"]), str(result["said"]).replace("|", "-")
    return f"| {role} | {FAULTS[role]['fault']} | {said} | {result['seconds']:.0f} | {when} | {'found' if result['found'] else 'NOT FOUND'} |"


def page(kept: dict[str, str]) -> str:
    """The rows of all roles, with a line for each that has none."""
    lines = [
        "# faults",
        "",
        (__doc__ or "").strip(),
        "",
        f"{machine()}. Repeat with `bin/prove faults [ROLE ...]`; the faults are in `tests/faults/faults.yml`.",
    ]
    lines += ["", "| role | fault | verify fails at | seconds | commit, date | result |", "|---|---|---|---|---|---|"]
    lines += [kept.get(role, f"| {role} | {fault['fault']} | - | - | - | not run |") for role, fault in FAULTS.items()]
    found = sum(line.endswith("| found |") for line in kept.values())
    return "\n".join([*lines, "", f"{found} of {len(FAULTS)} faults found, {len(FAULTS) - len(kept)} not run.", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roles", nargs="*", metavar="ROLE", help=f"these only (default: all): {', '.join(FAULTS)}")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="so many scenarios at once (default: %(default)s)")
    parser.add_argument("--converged", action="store_true", help="take the hosts that `molecule test --destroy=never -s ROLE` has just left")
    options = parser.parse_args()
    chosen = options.roles or list(FAULTS)
    if unknown := set(chosen) - set(FAULTS):
        parser.error(f"no fault is listed for {', '.join(sorted(unknown))}")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    missed = 0
    with ThreadPoolExecutor(options.j) as pool:
        for done in as_completed([pool.submit(prove, role, options.converged) for role in chosen]):
            result = done.result()
            role = str(result["role"])
            missed += not result["found"]
            print(f"{role}: {FAULTS[role]['fault']}: {result['said']} ({result['seconds']:.0f} s)", flush=True)
            when = f"{commit}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
            PAGE.write_text(page(rows() | {role: row(result, when)}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
