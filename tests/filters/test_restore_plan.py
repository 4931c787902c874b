"""Where the database goes back to, and every reason not to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from restore_plan import restore_plan

# 2026-01-31 02:00:00 UTC, 10:00 in Manila.
TEN = 1769824800.0
HOUR = 3600.0


def backup(name: str, stop: float, note: str = "", repository: int = 1) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": name, "timestamp": {"start": stop - 60, "stop": stop}, "database": {"id": 1, "repo-key": repository}}
    return {**entry, "annotation": {"label": note}} if note else entry


INFO = [{"name": "obcms", "status": {"code": 0, "message": "ok"}, "backup": [
    backup("B1", TEN - 10 * HOUR), backup("B2", TEN - 2 * HOUR, "before-move"), backup("B3", TEN - HOUR, repository=2),
]}]  # fmt: skip
POINTS = [
    '{"kind": "restore_point", "wave": 3, "name": "before-wave-3-20260131T003000Z"}',
    '{"kind": "restore_point", "wave": 3, "name": "before-wave-3-20260131T010000Z"}',
    '{"kind": "moa", "name": "something else"}',
]


def plan(history: list[dict[str, float]] | None = None, now: float = TEN, **asked: Any) -> dict[str, Any]:
    return restore_plan(asked, INFO, POINTS, history or [], now)


def test_a_time_takes_the_newest_backup_before_it() -> None:
    found = plan(target="2026-01-31 09:15:00+08")
    assert found["problem"] == ""
    assert found["set"] == "B2"
    assert found["lost_seconds"] == 45 * 60
    assert found["arguments"] == ["--set=B2", "--type=time", "--target=2026-01-31 01:15:00.000000+00", "--target-action=pause"]
    assert found["words"] == "2026-01-31 09:15:00+08: the database as it was at 2026-01-31 01:15:00 UTC, 45 min 0 s ago, from backup B2"
    assert plan(target="2026-01-31 01:00:00+08")["set"] == "B1"


@pytest.mark.parametrize("text", ["2026-01-31 09:15+08", "2026-01-31T01:15:00Z", "2026-01-31 09:15:00.0 +0800", "2026-01-31 01:15:00+00:00"])
def test_the_same_moment_in_many_words(text: str) -> None:
    assert plan(target=text)["at"] == TEN - 45 * 60


@pytest.fixture
def in_manila(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The controller's own clock is set to another zone."""
    monkeypatch.setenv("TZ", "Asia/Manila")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_manila")
def test_the_zone_of_the_controller_plays_no_part() -> None:
    found = plan(target="2026-01-31 09:15:00+08")
    assert found["arguments"][2] == "--target=2026-01-31 01:15:00.000000+00"
    assert "as it was at 2026-01-31 01:15:00 UTC" in found["words"]
    assert plan(target="before-wave-3-20260131T003000Z")["at"] == TEN - 1.5 * HOUR


def test_a_wave_is_its_newest_restore_point() -> None:
    found = plan(target="wave-3")
    assert found["name"] == "before-wave-3-20260131T010000Z"
    assert "--type=name" in found["arguments"]
    assert "--target=before-wave-3-20260131T010000Z" in found["arguments"]
    assert plan(target="before-wave-3-20260131T003000Z")["at"] == TEN - 1.5 * HOUR


@pytest.mark.parametrize("label", ["B2", "before-move"])
def test_a_label_is_a_backup_and_nothing_after_it(label: str) -> None:
    found = plan(label=label)
    assert (found["set"], found["at"]) == ("B2", TEN - 2 * HOUR)
    assert found["arguments"] == ["--set=B2", "--type=immediate", "--target-action=pause"]


def test_the_other_repository_has_its_own_backups() -> None:
    assert plan(target="2026-01-31 09:15:00+08", repository=2)["set"] == "B3"


ONE = "name one of -e target=... (a time like '2026-01-31 10:15:00+08', a restore point, or wave-N) and -e label=... (a backup)"
KNOWN = "known are before-wave-3-20260131T003000Z, before-wave-3-20260131T010000Z"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, ONE),
        ({"target": "wave-3", "label": "B1"}, ONE),
        (
            {"target": "2026-01-31 10:00:01+08"},
            "2026-01-31 02:00:01 UTC is in the future: here it is 2026-01-31 02:00:00 UTC. Look at the time zone of the target",
        ),
        (
            {"target": "2026-01-30 15:00:00+08"},
            "2026-01-30 07:00:00 UTC is before the oldest backup, which ended at 2026-01-30 16:00:00 UTC; that is as far back as it goes",
        ),
        ({"target": "2026-01-31 09:15:00"}, "'2026-01-31 09:15:00' has no time zone; add it, like 2026-01-31 09:15:00+08"),
        ({"target": "2026-02-31 09:15:00+08"}, "'2026-02-31 09:15:00+08' is no time: day is out of range for month"),
        ({"target": "yesterday"}, f"'yesterday' is neither a time like '2026-01-31 10:15:00+08' nor a restore point on record; {KNOWN}"),
        ({"target": "wave-4"}, f"wave 4 has no restore point on record; {KNOWN}"),
        ({"label": "gone"}, "there is no backup with the label 'gone'; the newest are B1, B2 (before-move)"),
        ({"target": "wave-3", "repository": 3}, "repository 3 holds no backup (pgBackRest says: ok); -e repository=2 is the off-site one"),
    ],
)
def test_guards(asked: dict[str, Any], said: str) -> None:
    assert plan(**asked) == {"problem": f"restore: {said}. Nothing was changed"}


def test_a_cluster_that_was_never_backed_up() -> None:
    assert "pgBackRest knows no cluster of this name" in restore_plan({"label": "B1"}, [], [], [], TEN)["problem"]


def test_a_label_on_two_backups_is_not_guessed() -> None:
    info = [{"backup": [backup("B1", 1.0, "same"), backup("B2", 2.0, "same")]}]
    problem = restore_plan({"label": "same"}, info, [], [], TEN)["problem"]
    assert problem == "restore: the label 'same' is on 2 backups; name one of B1, B2. Nothing was changed"


# At TEN the database went back by three hours, from timeline 4: what was written in between is a branch of its own.
WENT_BACK = [{"target_at": TEN - 3 * HOUR, "done_at": TEN, "timeline": 4}]


def test_the_branch_that_a_restore_left_is_reached_by_its_timeline() -> None:
    found = plan(WENT_BACK, now=TEN + HOUR, target="2026-01-31 09:15:00+08")
    assert (found["set"], found["timeline"]) == ("B2", "4")
    assert found["arguments"][-1] == "--target-timeline=4"


def test_the_present_never_starts_from_a_backup_of_a_branch_that_was_left() -> None:
    found = plan(WENT_BACK, now=TEN + HOUR, target="2026-01-31 10:30:00+08")
    assert (found["set"], found["timeline"]) == ("B1", "")


def test_the_moment_at_which_a_restore_ended_is_of_the_present() -> None:
    found = plan(WENT_BACK, now=TEN + HOUR, target="2026-01-31 10:00:00+08")
    assert (found["set"], found["timeline"]) == ("B1", "")


def test_a_backup_that_ended_where_a_restore_went_back_to_is_of_the_present() -> None:
    to_b2 = [{"target_at": TEN - 2 * HOUR, "done_at": TEN, "timeline": 4}]
    assert plan(to_b2, now=TEN + HOUR, target="2026-01-31 10:30:00+08")["set"] == "B2"


def test_later_restores_change_nothing_about_what_was_before_them() -> None:
    later = [*WENT_BACK, {"target_at": TEN + 1.5 * HOUR, "done_at": TEN + 2 * HOUR, "timeline": 5}]
    found = plan(later, now=TEN + 3 * HOUR, target="2026-01-31 11:00:00+08")
    assert (found["set"], found["timeline"]) == ("B1", "")


def test_a_backup_after_one_restore_may_be_of_a_branch_that_the_next_one_left() -> None:
    left = [*WENT_BACK, {"target_at": TEN + HOUR, "done_at": TEN + 2 * HOUR, "timeline": 5}]
    info = [{"backup": [backup("KEPT", TEN + 0.5 * HOUR), backup("LEFT", TEN + 1.5 * HOUR)]}]
    for history in (left, left[::-1]):
        found = restore_plan({"target": "2026-01-31 12:30:00+08"}, info, [], history, TEN + 3 * HOUR)
        assert found["set"] == "KEPT"


def test_before_the_fork_all_is_one() -> None:
    found = plan(WENT_BACK, now=TEN + HOUR, target="2026-01-31 06:30:00+08")
    assert (found["set"], found["timeline"]) == ("B1", "")


def test_a_second_restore_into_the_branch_of_the_first() -> None:
    # At TEN back to TEN-3h; an hour later into the branch that was left, to TEN-1h: from there the database went on.
    twice = [*WENT_BACK, {"target_at": TEN - HOUR, "done_at": TEN + HOUR, "timeline": 5}]
    between = plan(twice, now=TEN + 2 * HOUR, target="2026-01-31 10:30:00+08")
    assert between["timeline"] == "5"


def test_no_backup_leads_there() -> None:
    early = [{"target_at": TEN - 11 * HOUR, "done_at": TEN - HOUR, "timeline": 2}]
    assert "no backup leads to 2026-01-31 01:30:00 UTC" in plan(early, target="2026-01-31 09:30:00+08")["problem"]
