#!/usr/bin/env python3
"""How many small faults, put into filter_plugins one at a time, the unit tests notice (mutation testing with mutmut)."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from report import PROJECT, Series, write

WORK = PROJECT / ".cache" / "mutation"
SURVIVORS = Path(__file__).with_name("mutation_survivors.yml")
LIMIT = 95.0
# Part: which filters, and the tests that look at them. The broken inventories, each read by Ansible, are slow and concern one filter only.
# Tests that start ansible-playbook measure the same code once more, slowly.
PARTS: dict[str, dict[str, list[str]]] = {
    "filters": {"do_not_mutate": ["src/preflight_report.py"], "tests": ["tests/filters"]},
    "preflight": {"only_mutate": ["src/preflight_report.py"], "tests": ["tests/bad_inventories", "-k", "not playbook and not people"]},
}
# mutmut's own exit statuses: pytest's 1 (a test failed), 3 (an error), a time-out, and death by a signal all notice the fault.
SURVIVED, UNTESTED = 0, (5, 33)


def copied_names() -> list[str]:
    """Top-level entries of the project that git tracks and the tests may read, less the filters themselves."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return sorted({name.split("/")[0] for name in listed} - {"filter_plugins", "pyproject.toml", "molecule", "docs"})


def prepare(part: str) -> Path:
    """A copy of the project whose filters lie in src/, where mutmut gives modules the names by which Ansible and the tests import them."""
    work = WORK / part
    work.mkdir(parents=True, exist_ok=True)
    names = copied_names()
    for name in names:
        source, target = PROJECT / name, work / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (work / "src").mkdir(exist_ok=True)
    for path in (PROJECT / "filter_plugins").glob("*.py"):
        if not (work / "src" / path.name).exists() or (work / "src" / path.name).read_bytes() != path.read_bytes():
            shutil.copy2(path, work / "src" / path.name)
    for folder in (work, work / "mutants"):
        folder.mkdir(exist_ok=True)
        if not (folder / "filter_plugins").is_symlink():
            (folder / "filter_plugins").symlink_to("src")
    lists = {key: value for key, value in PARTS[part].items() if key != "tests"}
    lists |= {"source_paths": ["src"], "also_copy": names, "pytest_add_cli_args_test_selection": PARTS[part]["tests"]}
    lines = ["[tool.mutmut]", *(f"{key} = {json.dumps(value)}" for key, value in lists.items())]
    lines += ["[tool.pytest.ini_options]", 'pythonpath = ["src", "shared", "library", "scripts", "tests/filters", "tests/bad_inventories"]']
    (work / "pyproject.toml").write_text("\n".join(lines) + "\n")
    return work


def results() -> dict[str, int | None]:
    """Mutant to the exit status of the tests, None where they have not run yet."""
    found: dict[str, int | None] = {}
    for path in WORK.glob("*/mutants/src/*.meta"):
        found.update(json.loads(path.read_text())["exit_code_by_key"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time; the next run goes on from there (default: 60)")
    parser.add_argument("--children", type=int, default=1, help="faults tried at the same time (default: 1)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    for part in PARTS:
        command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(options.children)]
        try:
            subprocess.run(command, cwd=prepare(part), check=False, timeout=max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"\nstopped after {options.minutes:g} minutes; run it again to go on", flush=True)
    found = results()
    tried = {name: status for name, status in found.items() if status is not None}
    alive = sorted(name for name, status in tried.items() if status == SURVIVED or status in UNTESTED)
    reasons = yaml.safe_load(SURVIVORS.read_text()) or {} if SURVIVORS.exists() else {}
    known = {name: reason for reason, names in reasons.items() for name in names}
    killed = Series("faults that no test notices", 100 - LIMIT, "%")
    if tried:
        killed.values.append(100 * len(alive) / len(tried))
    if len(tried) < len(found):
        killed.failures.append(f"{len(found) - len(tried)} of {len(found)} faults not tried yet")
    unexplained = Series("survivors without a reason", 0, "faults")
    unexplained.failures = [f"`{name}`" for name in alive if name not in known]
    unexplained.values.append(float(len(unexplained.failures)))
    per_file = Counter(name.split(".")[0] for name in tried)
    left = Counter(name.split(".")[0] for name in alive)
    notes = [f"{len(tried)} of {len(found)} faults tried, {len(tried) - len(alive)} noticed, {len(alive)} not."]
    notes += [f"{name}: {left[name]} of {count} not noticed" for name, count in sorted(per_file.items())]
    for reason, names in reasons.items():
        if same := [name for name in alive if name in names]:
            notes.append(f"{len(same)} not noticed: {reason} ({', '.join(f'`{name}`' for name in same)})")
    return write("mutation", __doc__ or "", [killed, unexplained], notes)


if __name__ == "__main__":
    sys.exit(main())
