#!/usr/bin/env python3
"""Whether the scenario of each role fails when the role is broken: a listed fault is put into converged hosts, and their verify must find it."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml

from report import PROJECT, docker, machine

FAULTS = yaml.safe_load((PROJECT / "tests" / "faults" / "faults.yml").read_text())
# Results of single roles are kept, so that the page can be completed in several runs.
KEPT = PROJECT / ".cache" / "faults"
PAGE = PROJECT / "docs" / "proofs" / "faults.md"


def molecule(word: str, role: str) -> tuple[int, str]:
    """Exit status and output of one step of the role's scenario."""
    # molecule breaks lines at the width of a terminal, draws a frame around them, and colours both.
    environment = os.environ | {"COLUMNS": "1000"}
    done = subprocess.run(["molecule", word, "-s", role], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    output = re.sub(r"^\s*│ ?", "", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr), flags=re.MULTILINE)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{role}-{word}.log").write_text(output)
    return done.returncode, output


def complaint(output: str) -> str:
    """What verify said: the failed test, or the failed task and its message."""
    if tests := re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", output, re.MULTILINE):
        return ", ".join(tests[:3])
    tasks = list(re.finditer(r"^TASK \[(.*?)\]", output, re.MULTILINE))
    fatal = [found.start() for found in re.finditer(r"^(?:fatal|failed): ", output, re.MULTILINE)]
    before = [task[1] for task in tasks if fatal and task.start() < fatal[-1]]
    return before[-1] if before else "unknown"


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
        return status != 0 and said != "unknown", said
    finally:
        molecule("destroy", role)


def page() -> str:
    """All results that are kept."""
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))}
    lines = [
        "# faults",
        "",
        (__doc__ or "").strip(),
        "",
        f"{machine()}. Repeat with `bin/prove faults [ROLE ...]`; the faults are in `tests/faults/faults.yml`.",
    ]
    lines += ["", "| role | fault | verify fails at | seconds | commit, date | result |", "|---|---|---|---|---|---|"]
    for role, fault in FAULTS.items():
        if role in kept:
            row = kept[role]
            result = "found" if row["found"] else "NOT FOUND"
            lines.append(f"| {role} | {fault['fault']} | {row['said'].replace('|', '-')} | {row['seconds']:.0f} | {row['when']} | {result} |")
        else:
            lines.append(f"| {role} | {fault['fault']} | - | - | - | not run |")
    found = sum(kept[role]["found"] for role in FAULTS if role in kept)
    return "\n".join([*lines, "", f"{found} of {len(FAULTS)} faults found, {len(set(FAULTS) - set(kept))} not run.", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roles", nargs="*", metavar="ROLE", help=f"these only (default: all): {', '.join(FAULTS)}")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="so many scenarios at once (default: %(default)s)")
    parser.add_argument("--converged", action="store_true", help="take the hosts that `molecule test --destroy=never -s ROLE` has just left")
    options = parser.parse_args()
    chosen = options.roles or list(FAULTS)
    if unknown := set(chosen) - set(FAULTS):
        parser.error(f"no fault is listed for {', '.join(sorted(unknown))}")
    KEPT.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    missed = 0
    with ThreadPoolExecutor(options.j) as pool:
        for done in as_completed([pool.submit(prove, role, options.converged) for role in chosen]):
            row = done.result()
            role = str(row["role"])
            missed += not row["found"]
            print(f"{role}: {FAULTS[role]['fault']}: {row['said']} ({row['seconds']:.0f} s)", flush=True)
            when = f"{commit}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
            Path(KEPT / f"{role}.json").write_text(json.dumps(row | {"when": when}))
            PAGE.write_text(page())
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
