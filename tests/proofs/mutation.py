#!/usr/bin/env python3
"""How many small faults, put into filter_plugins one at a time, the unit tests notice (mutation testing with mutmut)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from report import PROJECT, Series, write

WORK = PROJECT / ".cache" / "mutation"
# Faults that no test can notice: the reason, then what this script shows of each.
SURVIVORS = Path(__file__).with_name("mutation_survivors.json")
LIMIT = 95.0
# Part: which filters, and the tests that look at them. The broken inventories concern one filter only; tests that start
# ansible-playbook would measure the same code once more, slowly.
PARTS: dict[str, dict[str, list[str]]] = {
    "filters": {"do_not_mutate": ["src/preflight_report.py"], "tests": ["tests/filters"]},
    "preflight": {"only_mutate": ["src/preflight_report.py"], "tests": ["tests/bad_inventories", "-k", "not playbook and not people"]},
}
# mutmut's own exit statuses: pytest's 1 (a test failed), 3 (an error), a time-out, and death by a signal all notice the fault.
UNNOTICED = (0, 5, 33)
# A fault that only the time limit noticed: an endless loop, or a machine with other work.
TIMED_OUT = (-24, 24, 36, 152, 255)
# A fresh pytest for each fault is most of the work: without what these tests do not use it takes half the time.
SPARED = "unraisableexception threadexception faulthandler doctest junitxml pastebin logging setuponly setupplan stepwise debugging warnings recwarn"
LEAN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": " ".join(f"-p no:{name}" for name in SPARED.split())}
# A fault is noticed or not within a second; a loop that has become endless is given up after ten.
SECONDS_MORE, TIMES_LONGER = 1.0, 10.0
# Prints the changed lines of faults: mutmut numbers them anew after every change of their function, so their numbers name nothing.
SHOW = """
import json, sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
shown = {}
for name in sys.argv[1:]:
    lines = get_diff_for_mutant(name, path=f"src/{name.split('.')[0]}.py").splitlines()
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    shown[name] = " ".join(f"{line[0]} {line[1:].strip()}" for line in changed)
print(json.dumps(shown))
"""


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
    lists["pytest_add_cli_args"] = ["-p", "no:cacheprovider"]
    lines = ["[tool.mutmut]", f"timeout_constant = {SECONDS_MORE}", f"timeout_multiplier = {TIMES_LONGER}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in lists.items()]
    lines += ["[tool.pytest.ini_options]", 'pythonpath = ["src", "shared", "library", "scripts", "tests/filters", "tests/bad_inventories"]']
    (work / "pyproject.toml").write_text("\n".join(lines) + "\n")
    return work


def results(part: str) -> dict[str, int | None]:
    """Fault to the exit status of the tests, None where they have not run yet."""
    found: dict[str, int | None] = {}
    for path in (WORK / part).glob("mutants/src/*.meta"):
        found.update(json.loads(path.read_text())["exit_code_by_key"])
    return found


def forget_doubtful(part: str) -> None:
    """Faults that nobody noticed are tried again, by tests that may be stronger now; so are those that ran out of time."""
    for path in (WORK / part).glob("mutants/src/*.meta"):
        meta = json.loads(path.read_text())
        meta["exit_code_by_key"] = {name: None if status in UNNOTICED + TIMED_OUT else status for name, status in meta["exit_code_by_key"].items()}
        path.write_text(json.dumps(meta))


def shown(part: str, names: list[str]) -> dict[str, str]:
    """Faults with the line they change, '- before + after'."""
    if not names:
        return {}
    done = subprocess.run([sys.executable, "-c", SHOW, *names], cwd=WORK / part, capture_output=True, text=True, check=True)
    return {name: f"{name.rpartition('__mutmut_')[0]}: {change}" for name, change in json.loads(done.stdout).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time; the next run goes on from there (default: 60)")
    parser.add_argument("--children", type=int, default=1, help="faults tried at the same time (default: 1)")
    parser.add_argument(
        "--again", action="store_true", help="try what nobody noticed, or ran out of time, once more; without it only what is new or changed"
    )
    parser.add_argument("--part", choices=PARTS, help="only these filters; the page shows what is known of all")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    environment = os.environ | LEAN | {"HYPOTHESIS_PROFILE": "mutation"}
    for part in [options.part] if options.part else PARTS:
        if options.again:
            forget_doubtful(part)
        command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(options.children)]
        try:
            subprocess.run(command, cwd=prepare(part), env=environment, check=False, timeout=max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"\nstopped after {options.minutes:g} minutes; run it again to go on", flush=True)
    return page()


def page() -> int:
    """Write what is known."""
    found = {name: status for part in PARTS for name, status in results(part).items()}
    tried = {name: status for name, status in found.items() if status is not None}
    alive: dict[str, str] = {}
    for part in PARTS:
        alive |= shown(part, sorted(name for name, status in results(part).items() if status in UNNOTICED))
    reasons: dict[str, list[str]] = json.loads(SURVIVORS.read_text())
    known = {change for changes in reasons.values() for change in changes}
    killed = Series("faults that no test notices", 100 - LIMIT, "%")
    if tried:
        killed.values.append(100 * len(alive) / len(tried))
    if len(tried) < len(found):
        killed.failures.append(f"{len(found) - len(tried)} of {len(found)} faults not tried yet")
    unexplained = Series("survivors without a reason", 0, "faults")
    unexplained.failures = [f"`{change}`" for change in alive.values() if change not in known]
    unexplained.values.append(float(len(unexplained.failures)))
    per_file = Counter(name.split(".")[0] for name in tried)
    left = Counter(name.split(".")[0] for name in alive)
    notes = [f"{len(tried)} of {len(found)} faults tried, {len(tried) - len(alive)} noticed, {len(alive)} not."]
    if late := sum(status in TIMED_OUT for status in tried.values()):
        notes.append(f"{late} of those noticed ran out of time, as endless loops do.")
    notes += [f"{name}: {left[name]} of {count} not noticed" for name, count in sorted(per_file.items())]
    for reason, changes in reasons.items():
        if same := [change for change in alive.values() if change in changes]:
            notes.append(f"{len(same)} not noticed: {reason}\n" + "\n".join(f"  - `{change}`" for change in same))
    return write("mutation", __doc__ or "", [killed, unexplained], notes)


if __name__ == "__main__":
    sys.exit(main())
