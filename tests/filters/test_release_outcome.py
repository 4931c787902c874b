"""How a release ended: the cause is named with its host, hosts that are gone too, and old code is never put on a database it does not survive."""

from __future__ import annotations

import json
from typing import Any

import pytest

from release_outcome import (
    LONGEST,
    release_closed,
    release_dangerous,
    release_fault,
    release_fault_lines,
    release_faults,
    release_incompatible,
    release_last_json,
    release_noted,
    release_previous,
    release_reason,
    release_result,
    release_returned,
    release_running,
    release_said,
    release_story,
    release_times,
    release_touched,
    release_verdict_lines,
    release_verdicts,
)

MISSING = {"work.0002": "", "work.0003": "DROPPING columns"}


def test_what_a_host_says_is_read_and_silence_is_a_failure() -> None:
    assert release_said({"stdout": "two\nwarnings\n" + json.dumps({"ok": True, "text": "serves"})})["ok"] is True
    for silent in ({}, {"stdout": "Traceback"}, {"stdout": "[]", "stderr": "cut off"}, {"msg": "unreachable"}):
        assert release_said(silent)["ok"] is False


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({}, "no answer"),
        ({"stdout": None, "stderr": None, "msg": "unreachable"}, "unreachable"),
        ({"stdout": "[]", "stderr": " cut off\n", "msg": "non-zero return code"}, "cut off"),
        ({"stdout": '{"text": "half"}', "stderr": "x" * LONGEST + "OSError: no space"}, "x" * (LONGEST - 17) + "OSError: no space"),
    ],
)
def test_a_host_that_says_nothing_counts_as_changed_and_failed_with_the_end_of_what_is_known(result: dict[str, Any], why: str) -> None:
    assert release_said(result) == {
        "ok": False,
        "changed": True,
        "gate": "host",
        "text": f"release-host gave no answer that can be read: {why}",
        "log": [],
    }


def test_the_cause_comes_first_and_who_counted_only_when_nobody_else_speaks() -> None:
    counted = {"__release_met": True, "__release_fault": {"gate": "", "text": "web2 did not come through", "log": [], "counted": True}}
    cause = {"__release_met": True, "__release_fault": {"gate": "ready", "text": "503", "log": ["Traceback"]}}
    well = {"__release_met": True, "__release_fault": {}}
    hosts: dict[str, Any] = {"localhost": counted, "web1": well, "web2": cause}
    assert [fault["host"] for fault in release_faults(list(hosts), hosts)] == ["web2"]
    lost = {"host": "web2", "gate": "reachable", "text": "the host does not answer any more", "log": []}
    assert release_faults(list(hosts), {**hosts, "web2": {}}) == [lost]
    assert [fault["host"] for fault in release_faults(list(hosts), {**hosts, "localhost": {}})] == ["web2", "localhost"]
    assert [fault["host"] for fault in release_faults(list(hosts), {**hosts, "web2": well})] == ["localhost"]


def test_a_fault_carries_gate_and_log_lines() -> None:
    moved = {"ok": False, "gate": "start", "text": "does not start", "log": ["Traceback"]}
    assert release_fault({}, "turn | Every host of the turn has changed", moved, {}) == {
        "gate": "start",
        "text": "does not start",
        "log": ["Traceback"],
    }
    assert release_fault({}, "turn | Every host of the turn has changed", {"ok": False}, {}) == {"gate": "", "text": "", "log": []}


WATCHED = {"log": ["500"]}


@pytest.mark.parametrize(
    ("task", "moved", "fault"),
    [
        ("watch | Every gate of the host holds", {"ok": False}, {"log": ["500"], "counted": False}),
        ("watch | Ask Prometheus", {"ok": True}, {"log": ["500"], "counted": False}),
        ("turn | Everybody of the turn has changed", {"ok": True}, {"log": [], "counted": True}),
        ("phase | Everybody is still here", {}, {"log": [], "counted": True}),
    ],
)
def test_a_task_that_failed_is_named_with_its_message_and_only_watching_shows_the_log(
    task: str, moved: dict[str, Any], fault: dict[str, Any]
) -> None:
    assert release_fault({"msg": "closed"}, task, moved, WATCHED) == {"gate": "", "text": f"{task}: closed", **fault}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({}, "no message"),
        ({"msg": " rc 1\n", "stderr": "no space"}, "rc 1\nno space"),
        ({"msg": "MODULE FAILURE", "module_stderr": "Traceback"}, "MODULE FAILURE\nTraceback"),
        ({"msg": "rc 1", "stderr": "rc 1"}, "rc 1"),
        ({"msg": "x" * LONGEST + "OSError"}, "x" * (LONGEST - 7) + "OSError"),
        (
            {"msg": "one or more items failed", "results": [{"failed": False}, {"failed": True, "msg": "no space", "stderr": "disk"}]},
            "no space\ndisk",
        ),
        ({"msg": "all items", "results": [{"msg": "fine"}, {"unreachable": True, "msg": "no route"}, {"failed": True, "msg": "later"}]}, "no route"),
        ({"msg": "all of it", "results": [{"msg": "fine"}]}, "all of it"),
    ],
)
def test_why_a_task_failed(result: dict[str, Any], reason: str) -> None:
    assert release_reason(result) == reason


def test_faults_stand_in_the_record_with_the_phase_and_the_beginning_of_their_text() -> None:
    fault = {"host": "web2", "gate": "ready", "text": "503 " + "x" * 500, "log": ["Traceback"]}
    assert release_fault_lines([fault], "canary") == [{"phase": "canary: stopped", "host": "web2", "cause": "ready", "text": "503 " + "x" * 396}]


def test_a_closed_gate_in_words() -> None:
    row = {"gate": "leader", "host": "", "measured": "none", "limit": "1"}
    assert release_closed(row) == "gate leader: measured none, limit 1"
    assert release_closed({**row, "host": "web1"}) == "gate leader on web1: measured none, limit 1"


def test_a_host_runs_a_version_when_its_link_and_its_process_do() -> None:
    def survey(current: str, running: Any) -> dict[str, Any]:
        return {"__release_survey": {"current": current, "running": running}}

    facts: dict[str, dict[str, Any]] = {
        "done": survey("2", {"obcms.service": "2", "obcms-celery.service": "1"}),
        "also": survey("2", {"obcms.service": "2"}),
        "not restarted": survey("2", {"obcms.service": "1"}),
        "link went back": survey("1", {"obcms.service": "2"}),
        "runs nothing": survey("2", {}),
        "not asked": {},
        "did not answer": {"__release_survey": {"unreachable": True}},
        "half an answer": {"__release_survey": {"current": "2"}},
    }
    assert release_running(list(facts), facts, "obcms.service", "2") == ["done", "also"]
    assert release_running(list(facts), facts, "obcms-celery.service", "2") == []


def test_a_host_is_touched_in_the_tier_whose_switch_has_begun() -> None:
    facts: dict[str, dict[str, Any]] = {"web1": {"__release_touched": ["web"]}, "both": {"__release_touched": ["web", "worker"]}, "web3": {}}
    assert release_touched(["web1", "both", "web3"], facts, "web") == ["web1", "both"]
    assert release_touched(["web1", "both", "web3"], facts, "worker") == ["both"]


def test_what_became_of_hosts() -> None:
    facts: dict[str, Any] = {"web1": {"__release_returned_web": {"ok": True}}, "web2": {}}
    back = release_returned(facts, ["web1", "web2"], [])
    assert release_result({}) == "failed"
    assert release_result({"web1": back["web1"]}) == "taken_back"
    assert release_result(back) == "incomplete"
    fault = {"host": "web2", "gate": "ready", "text": "503", "log": ["Traceback of it"]}
    story = release_story([fault], "deploy 1.1.0", "batch 2", back, ["web3"], "Mend it.")
    assert story.splitlines() == [
        "deploy 1.1.0 stopped in phase batch 2.",
        "web2 gate ready: 503",
        "    Traceback of it",
        "Back on the old release: web1.",
        "NOT BACK: web2: it does not answer; look at it, then run rollback.yml -e scope=release",
        "Not touched: web3.",
        "Mend it.",
    ]


def test_a_story_tells_only_what_there_is() -> None:
    fault = {"host": "localhost", "gate": "", "text": "x" * LONGEST + "y", "log": []}
    told = "rollback 1.0.0 stopped in phase batches.\nlocalhost: " + "x" * LONGEST
    assert release_story([fault], "rollback 1.0.0", "batches", {}, [], "") == told
    back = {"web1": {"ok": True}, "web2": {"ok": True}, "web3": {"ok": False}}
    assert release_story([], "deploy 1.1.0", "canary", back, ["web4", "web5"], "").splitlines()[1:] == [
        "Back on the old release: web1, web2.",
        "NOT BACK: web3: ",
        "Not touched: web4, web5.",
    ]


WELL, ILL = {"ok": True, "text": "1.0.0 serves"}, {"ok": False, "text": "it does not start"}
SILENT = {"ok": False, "text": "it does not answer; look at it, then run rollback.yml -e scope=release"}


@pytest.mark.parametrize(
    ("facts", "found", "result"),
    [
        ({"__release_returned_web": WELL, "__release_returned_worker": WELL}, WELL, "taken_back"),
        ({"__release_returned_web": ILL, "__release_returned_worker": WELL}, ILL, "incomplete"),
        ({"__release_returned_web": WELL, "__release_returned_worker": ILL}, ILL, "incomplete"),
        ({"__release_returned_web": WELL}, SILENT, "incomplete"),
        ({"__release_returned_worker": WELL}, SILENT, "incomplete"),
    ],
)
def test_a_host_is_back_when_all_of_it_is(facts: dict[str, Any], found: dict[str, Any], result: str) -> None:
    returned = release_returned({"one": facts}, ["one"], ["one"])
    assert returned == {"one": found}
    assert release_result(returned) == result


def test_the_version_before() -> None:
    def survey(current: str, previous: str) -> dict[str, str]:
        return {"current": current, "previous": previous}

    assert release_previous([survey("2", "0"), survey("2", "0"), survey("2", "1")]) == {"version": "0", "problem": ""}
    assert release_previous([survey("2", "1"), survey("2", ""), survey("2", "")]) == {"version": "1", "problem": ""}
    assert release_previous([survey("2", "1"), survey("1", "0")], 1.4) == {"version": "1.4", "problem": ""}


@pytest.mark.parametrize(
    ("surveys", "problem"),
    [
        ([("2", "1"), ("1", "0")], "hosts run different releases (1, 2); name the one to go to: -e app_version=VERSION"),
        ([("2", "")], "no release before 2 is known; name one: -e app_version=VERSION"),
        ([], "no release before the first is known; name one: -e app_version=VERSION"),
    ],
)
def test_a_version_before_that_is_not_known_must_be_named(surveys: list[tuple[str, str]], problem: str) -> None:
    assert release_previous([{"current": current, "previous": previous} for current, previous in surveys]) == {"version": "", "problem": problem}


def test_the_last_line_of_a_program_is_read() -> None:
    assert release_last_json('two\nwarnings\n{"missing": {}}\n\n') == {"missing": {}}
    for unreadable in (None, "", "\n", "Traceback", "[1]", '{"missing": {}}\nbye'):
        assert release_last_json(unreadable) == {}


def test_migrations_that_stand_in_the_way_are_named_with_the_reason() -> None:
    assert release_dangerous(MISSING) == ["work.0003: DROPPING columns"]


def test_verdicts_on_migrations_for_people() -> None:
    assert release_verdicts({}, "no linter") == "no migration is missing"
    lines = ["work.0002  old code survives it", "work.0003  NOT COMPATIBLE: DROPPING columns"]
    assert release_verdicts(MISSING) == "\n".join(lines)
    assert release_verdicts(MISSING, "no linter").splitlines() == [*lines, "no linter"]


def test_verdicts_on_migrations_for_the_record() -> None:
    same = {"phase": "migrate", "limit": "compatible"}
    assert release_verdict_lines(MISSING) == [
        {**same, "gate": "migration work.0002", "measured": "compatible", "passed": True},
        {**same, "gate": "migration work.0003", "measured": "DROPPING columns", "passed": False},
    ]


def test_old_code_on_a_newer_database() -> None:
    judged = [{"work.0003": {"version": "2", "reason": "DROPPING columns"}}, {"work.0004": {"version": "2", "reason": ""}}]
    assert release_incompatible(["work.0004"], judged) == []
    assert release_incompatible(["work.0003"], judged) == ["work.0003 (of 2): DROPPING columns"]
    assert release_incompatible(["work.0009"], judged) == ["work.0009: nobody judged it"]
    assert release_incompatible(["work.0009", "work.0003"], [*judged, {"work.0003": {"reason": "RENAMING"}}]) == [
        "work.0009: nobody judged it",
        "work.0003 (of ?): RENAMING",
    ]


def test_notes_of_hosts() -> None:
    facts: dict[str, Any] = {"web1": {"__release_moved": {"ok": True, "opened": 5}}, "web2": {}, "web3": {"__release_moved": {"ok": False}}}
    hosts = ["web1", "web2", "web3"]
    assert release_noted(hosts, facts, "__release_moved", "opened") == {"web1": 5}
    assert release_noted(hosts, facts, "__release_moved", "ok") == {"web1": True, "web3": False}
    assert release_noted(hosts, facts, "__release_moved") == {"web1": {"ok": True, "opened": 5}, "web3": {"ok": False}}


def test_times_of_phases_with_watching_apart() -> None:
    times = [
        {"phase": "gates", "seconds": 8.0, "watched": 0},
        {"phase": "canary", "seconds": 60.0, "watched": 46},
        {"phase": "batch", "seconds": 1.2, "watched": 1},
    ]
    assert release_times(times).splitlines() == [
        "gates       8.0 s",
        "canary     60.0 s, 46 s of it watching",
        "batch       1.2 s, 1 s of it watching",
        "all        69.2 s, 22.2 s without watching",
    ]
