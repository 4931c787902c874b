"""bin/test: what it reads out of the output of molecule."""

from __future__ import annotations

import importlib.util
import itertools
import math
import threading
import time
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("stages", Path(__file__).resolve().parents[1] / "run.py")
assert SPEC
assert SPEC.loader
stages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(stages)

STEP = """\x1b[34mINFO\x1b[0m     [redis > {step}] Executing

TASK [redis : configure | Render the files] ***
{state}: [redis1] => (item=settings.conf)

PLAY RECAP ***
redis1                     : ok=9    changed={changed}    unreachable=0    failed=0
INFO     [redis > {step}] Executed: Successful
"""


def output(*steps: tuple[str, int]) -> str:
    """What molecule prints for these steps, each with its number of changes, and its summary of them."""
    said = "".join(STEP.format(step=step, changed=changed, state="changed" if changed else "ok") for step, changed in steps)
    return said + "".join(f"redis > {step}: Executed: Successful\n" for step, _ in steps)


def test_only_the_check_of_converged_hosts_must_be_unchanged() -> None:
    text = output(("check", 7), ("converge", 7), ("idempotence", 0), ("check", 0), ("verify", 2))
    stages.unchanged(stages.last_check(text), "redis in check mode")


def test_a_change_in_the_second_check_is_named() -> None:
    text = output(("check", 7), ("converge", 7), ("idempotence", 0), ("check", 1), ("verify", 0))
    with pytest.raises(stages.StageFailed, match=r"redis1 changed=1\nTASK \[redis : configure \| Render the files\]"):
        stages.unchanged(stages.last_check(text), "redis in check mode")


@pytest.mark.parametrize("steps", [(), (("check", 0),), (("check", 0), ("check", 0), ("check", 0))])
def test_output_without_two_checks_is_not_taken_for_good(steps: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(stages.StageFailed, match=f"{len(steps)} runs in check mode instead of 2"):
        stages.last_check(output(*steps))


def tries(monkeypatch: pytest.MonkeyPatch, failing: dict[str, int], until: float = math.inf) -> list[str]:
    """Run the stage with scenarios of which each fails so many times first; their names in the order of the tries."""
    tried: list[str] = []

    def scenario(name: str) -> tuple[str, bool, float]:
        tried.append(name)
        failing[name] = failing.get(name, 0) - 1
        return name, failing[name] < 0, 1.0

    monkeypatch.setattr(stages, "step", lambda *_: "")
    monkeypatch.setattr(stages, "scenario", scenario)
    stages.roles(["pki", "etcd", "base", "redis"], 2, until)
    return tried


def test_what_failed_beside_others_passes_alone_and_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert tries(monkeypatch, {"etcd": 1})[-1] == "etcd"
    assert "failed beside others, passed alone: etcd" in capsys.readouterr().out


def test_what_fails_alone_as_well_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(stages.StageFailed, match="1 of 4 scenarios failed: etcd"):
        tries(monkeypatch, {"etcd": 2})


def test_many_that_fail_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(stages.StageFailed, match="3 of 4 scenarios failed: pki, etcd, base"):
        tries(monkeypatch, {"pki": 1, "etcd": 1, "base": 1})


def test_what_there_is_no_time_for_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert tries(monkeypatch, {}, time.time() - 1) == []
    assert "NOT RUN, there was no time left: pki, etcd, base, redis" in capsys.readouterr().out


def test_what_failed_is_tried_again_soon_after_the_time_was_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.chain([0.0] * 4, itertools.repeat(9.0))
    monkeypatch.setattr(stages.time, "time", lambda: next(clock))
    assert tries(monkeypatch, {"etcd": 1}, 1.0)[-1] == "etcd"


def test_what_failed_has_failed_long_after_the_time_was_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.chain([0.0] * 4, itertools.repeat(999.0))
    monkeypatch.setattr(stages.time, "time", lambda: next(clock))
    with pytest.raises(stages.StageFailed, match="1 of 4 scenarios failed: etcd"):
        tries(monkeypatch, {"etcd": 1}, 1.0)


def test_every_linter_runs_and_each_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def step(name: str, *_: str) -> str:
        ran.append(name)
        if name in ("mypy", "ruff"):
            raise stages.StageFailed(f"{name}: exit status 1")
        return ""

    monkeypatch.setattr(stages, "step", step)
    with pytest.raises(stages.StageFailed, match="mypy: exit status 1\nruff: exit status 1"):
        stages.lint()
    assert sorted(ran) == sorted(stages.LINTERS)


def test_linters_and_unit_tests_run_together_and_a_failure_of_one_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both, ran = threading.Barrier(2, timeout=30), []

    def stage(name: str, action: object) -> tuple[str, bool, float]:
        ran.append(name)
        if name in ("lint", "unit"):
            both.wait()
        return name, name != "lint", 0.0

    monkeypatch.setattr(stages, "OUTPUT", tmp_path / "test-output")
    monkeypatch.setattr(stages, "run_stage", stage)
    assert stages.main(["bin/test", "lint", "unit", "lab"]) == 1
    assert sorted(ran) == ["lint", "unit"]
    assert stages.main(["bin/test", "unit-tests"]) == 2


def beside(monkeypatch: pytest.MonkeyPatch, folder: Path, good: bool) -> tuple[int, list[str]]:
    """Exit status of `bin/test lab roles`, and what happened, in its order; a release of the lab ends when a scenario has ended beside it."""
    happened: list[str] = []
    one_ended = threading.Event()

    def step(name: str, *_: str, **__: str) -> str:
        if name.startswith("deploy"):
            assert one_ended.wait(30)
            # Long enough for other lanes to begin, if they did not wait.
            time.sleep(0.5)
            if not good:
                raise stages.StageFailed("deploy failed")
        happened.append(name)
        return ""

    def scenario(name: str) -> tuple[str, bool, float]:
        happened.append(f"begin {name}")
        if not stages.LAB_IS_DONE.is_set():
            happened.append(f"end {name}")
            one_ended.set()
            assert stages.LAB_IS_DONE.wait(30)
        return name, True, 1.0

    monkeypatch.setattr(stages, "OUTPUT", folder / "test-output")
    monkeypatch.setattr(stages, "step", step)
    monkeypatch.setattr(stages, "unchanged", lambda *_: None)
    monkeypatch.setattr(stages, "keep_evidence", lambda *_: None)
    monkeypatch.setattr(stages, "scenario", scenario)
    monkeypatch.setattr(stages, "hosts_of", lambda _: 1)
    status = stages.main(["bin/test", "lab", "roles"])
    stages.LAB_FAILED.clear()
    return status, happened


def test_one_scenario_at_a_time_runs_beside_a_lab_that_stands_and_all_the_others_after_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, happened = beside(monkeypatch, tmp_path, good=True)
    assert status == 0
    over = happened.index("site.yml again")
    first = [number for number, what in enumerate(happened) if what.startswith("begin")]
    assert happened.index("lab from nothing") < first[0] < over < first[1]
    assert len(first) == len(list(stages.PROJECT.glob("molecule/*/molecule.yml")))


def test_no_scenario_begins_after_the_lab_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, happened = beside(monkeypatch, tmp_path, good=False)
    assert status == 1
    assert len([what for what in happened if what.startswith("begin")]) == 1
    assert "NOT RUN, there was no time left" in capsys.readouterr().out
