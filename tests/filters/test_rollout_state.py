"""The record: its chain, its copies, and what is read from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_rollout_plan import PLAN

import rollout_record
from rollout_commands import rollout_after_set_back
from rollout_plan import rollout_plan
from rollout_state import (
    RecordConflict,
    rollout_agreed,
    rollout_established,
    rollout_events,
    rollout_metrics,
    rollout_news,
    rollout_result,
    rollout_state,
    rollout_table,
    rollout_touched_waves,
    rollout_wave_entry,
    wave_standing,
)


def moa(code: str, state: str = "proven", wave: int = 1) -> dict[str, Any]:
    return {"kind": "moa", "moa": code, "wave": wave, "state": state, "users": 20, "detail": "", "at": "2027-01-04T08:00:00Z", "who": "amina"}


def append(place: Path, known: list[dict[str, Any]], entries: list[dict[str, Any]], **files: str) -> dict[str, Any]:
    params = {"directory": str(place), "action": "append", "known": known, "entries": entries, "files": files}
    return rollout_record.update(params, False)


def read(place: Path) -> dict[str, Any]:
    return rollout_record.update({"directory": str(place), "action": "read"}, False)


def test_append_and_read(tmp_path: Path) -> None:
    first = append(tmp_path, [], [moa("AAA"), moa("BBB")])
    second = append(tmp_path, first["lines"], [moa("AAA", "suspended")])
    assert read(tmp_path) == {"changed": False, "lines": second["lines"], "problem": ""}
    assert [line["n"] for line in second["lines"]] == [1, 2, 3]
    assert second["lines"][2]["previous"] == second["lines"][1]["hash"]


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    lines = append(tmp_path, [], [moa("AAA")], **{"state.json": "{}"})["lines"]
    assert append(tmp_path, lines, [], **{"state.json": "{}"})["changed"] is False
    assert append(tmp_path, lines, [], **{"state.json": "{1}"})["changed"] is True


def test_a_host_that_missed_lines_gets_them(tmp_path: Path) -> None:
    lines = append(tmp_path / "a", [], [moa("AAA"), moa("BBB")])["lines"]
    append(tmp_path / "b", lines, [moa("CCC")])
    append(tmp_path / "a", lines, [moa("CCC")])
    assert read(tmp_path / "a") == read(tmp_path / "b")


def test_an_unfinished_last_line_is_cut(tmp_path: Path) -> None:
    lines = append(tmp_path, [], [moa("AAA")])["lines"]
    path = tmp_path / "record.jsonl"
    path.write_text(path.read_text() + '{"kind": "mo')
    assert read(tmp_path) == {"changed": False, "lines": lines, "problem": ""}
    append(tmp_path, lines, [moa("BBB")])
    assert len(read(tmp_path)["lines"]) == 2


@given(st.integers(0, 4), st.sampled_from(["change", "remove", "repeat", "swap"]))
def test_whatever_is_done_to_a_line_is_found(number: int, deed: str) -> None:
    lines = rollout_record.sealed([], [moa(f"M{index}") for index in range(6)])
    if deed == "change":
        lines[number]["state"] = "suspended"
    elif deed == "remove":
        del lines[number]
    elif deed == "repeat":
        lines.insert(number, dict(lines[number]))
    else:
        lines[number], lines[number + 1] = lines[number + 1], lines[number]
    assert rollout_record.chain_problem(lines)


def test_a_foreign_line_stops_the_writing(tmp_path: Path) -> None:
    append(tmp_path, [], [moa("AAA")])
    with pytest.raises(rollout_record.RecordError, match="it has lines that the other hosts do not have; compare it"):
        append(tmp_path, [], [moa("BBB")])


def copies(*lines: list[dict[str, Any]], problem: str = "") -> list[dict[str, Any]]:
    return [{"item": {"name": f"host{number}"}, "lines": each, "problem": problem} for number, each in enumerate(lines)]


def test_copies() -> None:
    lines = rollout_record.sealed([], [moa("AAA"), moa("BBB")])
    assert rollout_agreed(copies(lines[:1], lines)) == lines
    assert rollout_agreed([*copies(lines), {"unreachable": True}]) == lines
    with pytest.raises(RecordConflict, match="host0 and host1 hold different records|host1 and host0 hold different records"):
        rollout_agreed(copies(lines, rollout_record.sealed([], [moa("CCC")])))
    with pytest.raises(RecordConflict, match="the record is damaged on host0: line 2 was changed"):
        rollout_agreed(copies(lines, problem="line 2 was changed"))
    with pytest.raises(RecordConflict, match="no host returned the record"):
        rollout_agreed([{"unreachable": True}])


@pytest.mark.parametrize(
    ("after", "established"),
    [
        ([], True),
        # What a second run of a live wave writes down: its command, which failed or had something to do.
        ([moa("AAA", "failed")], True),
        ([moa("AAA", "onboarded")], True),
        ([moa("AAA", "suspension failed")], True),
        ([moa("AAA", "suspended")], False),
        ([{**moa("AAA", "failed"), "detail": "sees what is another's; set back"}], False),
        ([{**moa("AAA", "failed"), "detail": "a leak; STILL ON BOARD, setting it back failed: stuck"}], True),
        ([moa("AAA", "suspended"), moa("AAA", "onboarded")], False),
        ([moa("AAA", "suspended"), moa("AAA", "onboarded"), moa("AAA")], True),
    ],
)
def test_who_was_proven_stays_established_until_shut_out(after: list[dict[str, Any]], established: bool) -> None:
    lines = [moa("AAA", "onboarded"), moa("AAA"), {"kind": "wave", "wave": 1, "state": "complete"}, moa("BBB", "onboarded"), *after]
    assert rollout_established(lines) == (["AAA"] if established else [])


def test_who_was_set_back_is_not_established() -> None:
    """The words by which the record is read are those that are written into it."""
    finding = {"code": "AAA", "ok": False, "leak": True, "detail": "LEAK"}
    written = rollout_after_set_back([finding], [], [{"code": "AAA", "ok": True, "detail": ""}])
    assert rollout_established([moa("AAA"), {**moa("AAA", "failed"), "detail": written[0]["detail"]}]) == []


def test_only_news_are_written() -> None:
    lines = [moa("AAA")]
    assert rollout_news([moa("AAA")], lines, "later", "omar") == []
    assert [entry["who"] for entry in rollout_news([moa("AAA", "failed"), moa("BBB")], lines, "later", "omar")] == ["omar", "omar"]
    point = {"kind": "restore_point", "wave": 1, "name": "before-wave-1"}
    assert rollout_news([point], [point], "later", "omar") == [{**point, "at": "later", "who": "omar"}]


def test_waves_follow_from_their_moas() -> None:
    plan = rollout_plan(PLAN)
    started = rollout_wave_entry([], plan, 1, ended=False)
    assert started[0]["state"] == "started"
    both = [moa("AAA"), moa("BBB")]
    assert rollout_wave_entry(both, plan, 1)[0]["state"] == "complete"
    ended = [*both, {"kind": "wave", "wave": 1, "state": "complete"}]
    assert rollout_wave_entry(ended, plan, 1, ended=False) == []
    # Cut off while soaking: it starts again, and is watched again.
    assert rollout_wave_entry(both, plan, 1, ended=False)[0]["state"] == "started"
    held = rollout_wave_entry(both, plan, 1, held=["p95_seconds"])[0]
    assert (held["state"], held["detail"]) == ("incomplete", "closed while soaking: p95_seconds")
    half = rollout_wave_entry([moa("AAA"), moa("BBB", "failed")], plan, 1)[0]
    assert (half["state"], half["detail"]) == ("incomplete", "not on board: BBB")
    assert rollout_wave_entry([moa("AAA", "suspended"), moa("BBB", "suspended")], plan, 1)[0]["state"] == "taken back"


@pytest.mark.parametrize(
    ("status", "state", "detail"),
    [
        ({"AAA": {"state": "onboarded"}, "BBB": {"state": "suspended"}}, "incomplete", "not on board: BBB"),
        ({"AAA": {"state": "suspended"}, "BBB": {"state": "suspended"}}, "taken back", "not on board: AAA, BBB"),
        ({"CCC": {"state": "onboarded"}}, "incomplete", "not on board: AAA, BBB"),
        ({"AAA": {"state": "onboarded"}, "BBB": {"state": "onboarded"}}, "complete", ""),
        ({}, "complete", ""),
    ],
)
def test_a_wave_is_complete_only_with_who_is_on_board_as_the_application_tells(status: dict[str, Any], state: str, detail: str) -> None:
    entry = rollout_wave_entry([moa("AAA"), moa("BBB")], rollout_plan(PLAN), 1, status=status)[0]
    assert (entry["state"], entry["detail"]) == (state, detail)


def wave(state: str) -> dict[str, Any]:
    return {"kind": "wave", "wave": 1, "state": state}


@pytest.mark.parametrize(
    ("lines", "gates", "result"),
    [
        ([], [], "failed"),
        ([wave("started")], [], "failed"),
        ([wave("started"), wave("incomplete")], [{"ok": True}], "incomplete"),
        ([wave("incomplete"), wave("taken back")], [], "taken_back"),
        ([wave("incomplete")], [{"ok": True}, {"ok": False}], "failed"),
        ([{**wave("incomplete"), "wave": 2}], [], "failed"),
    ],
)
def test_how_a_run_that_failed_ended(lines: list[dict[str, Any]], gates: list[dict[str, Any]], result: str) -> None:
    assert rollout_result(lines, "1", gates) == result


def test_a_state_is_one_word_in_the_record_of_all_changes() -> None:
    assert rollout_events([wave("taken back")]) == [{"wave": 1, "phase": "taken_back", "text": "wave 1"}]


@pytest.mark.parametrize(
    ("lines", "standing"),
    [
        ([], "not started"),
        ([moa("AAA"), moa("BBB", "failed"), wave("complete")], "incomplete"),
        # Brought on board one by one: nobody watched the wave as a whole.
        ([moa("AAA"), moa("BBB")], "incomplete"),
        ([moa("AAA"), moa("BBB"), wave("started")], "started"),
        ([moa("AAA"), moa("BBB"), wave("complete")], "complete"),
    ],
)
def test_a_wave_is_complete_only_when_the_record_says_so_too(lines: list[dict[str, Any]], standing: str) -> None:
    assert wave_standing(rollout_plan(PLAN), 1, rollout_state(lines)) == standing


def test_only_waves_that_were_started_are_touched() -> None:
    plan = rollout_plan(PLAN)
    assert rollout_touched_waves(plan["moas"], [], plan) == []
    lines = [{"kind": "wave", "wave": 1, "state": "complete"}, moa("AAA"), moa("BBB", "suspended")]
    assert [entry["state"] for entry in rollout_touched_waves(plan["moas"], lines, plan)] == ["incomplete"]


def test_state_metrics_and_table() -> None:
    plan = rollout_plan(PLAN)
    lines = [moa("AAA", "failed"), moa("AAA"), {"kind": "wave", "wave": 1, "state": "complete"}]
    assert rollout_state(lines)["moas"]["AAA"]["state"] == "proven"
    text = rollout_metrics(lines, plan)
    assert 'obcms_rollout_moa_state{moa="AAA",wave="1",state="proven"} 1' in text
    assert 'obcms_rollout_moa_state{moa="CCC",wave="2",state="planned"} 1' in text
    assert text.endswith("\n")
    shown = rollout_table(plan, lines, {"AAA": {"state": "onboarded", "users": 20, "users_logged_in": 3}}, wave="1")
    assert "CCC" not in shown
    assert shown.splitlines()[-1] == "1 of 3 MOAs proven, 1 of 2 waves complete, 60 users planned"
    assert "CCC" in rollout_table(plan, lines, None)
    assert json.dumps(rollout_state(lines))


def test_labels_of_metrics_are_quoted() -> None:
    gates = [{"gate": 'a\\b"c\nd', "ok": True}]
    text = rollout_metrics([], rollout_plan(PLAN), gates)
    assert 'obcms_rollout_gate_open{gate="a\\\\b\\"c d"} 1' in text
    assert "# HELP obcms_rollout_moa_state" in text
