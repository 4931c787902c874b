"""How a release ended: the cause is named with its host, hosts that are gone too, and old code is never put on a database it does not survive."""

from __future__ import annotations

import json
from typing import Any

from release_outcome import (
    release_fault,
    release_faults,
    release_incompatible,
    release_noted,
    release_previous,
    release_reason,
    release_result,
    release_returned,
    release_said,
    release_story,
    release_times,
)


def test_what_a_host_says_is_read_and_silence_is_a_failure() -> None:
    assert release_said({"stdout": "warning\n" + json.dumps({"ok": True, "text": "serves"})})["ok"] is True
    for silent in ({}, {"stdout": "Traceback"}, {"stdout": "[]", "stderr": "cut off"}, {"msg": "unreachable"}):
        assert release_said(silent)["ok"] is False
    assert "cut off" in release_said({"stdout": "", "stderr": "cut off"})["text"]


def test_the_cause_comes_first_and_who_counted_only_when_nobody_else_speaks() -> None:
    counted = {"__release_met": True, "__release_fault": {"gate": "", "text": "web2 did not come through", "log": [], "counted": True}}
    cause = {"__release_met": True, "__release_fault": {"gate": "ready", "text": "503", "log": ["Traceback"]}}
    well = {"__release_met": True, "__release_fault": {}}
    hosts: dict[str, Any] = {"localhost": counted, "web1": well, "web2": cause}
    assert [fault["host"] for fault in release_faults(list(hosts), hosts)] == ["web2"]
    assert [fault["gate"] for fault in release_faults(list(hosts), {**hosts, "web2": {}})] == ["reachable"]
    assert [fault["host"] for fault in release_faults(list(hosts), {**hosts, "web2": well})] == ["localhost"]


def test_a_fault_carries_gate_and_log_lines() -> None:
    moved = {"ok": False, "gate": "start", "text": "does not start", "log": ["Traceback"]}
    assert release_fault({}, "turn | Every host of the turn has changed", moved, {}) == {
        "gate": "start",
        "text": "does not start",
        "log": ["Traceback"],
    }
    assert release_fault({"msg": "closed"}, "watch | Every gate", {}, {"log": ["500"]})["log"] == ["500"]
    assert release_fault({"msg": "missing"}, "phase | Everybody is still here", {}, {})["counted"] is True
    assert release_reason({"results": [{"failed": False}, {"failed": True, "msg": "no space", "stderr": "disk"}]}) == "no space\ndisk"


def test_what_became_of_hosts() -> None:
    facts: dict[str, Any] = {"web1": {"__release_returned_web": {"ok": True}}, "web2": {}}
    back = release_returned(facts, ["web1", "web2"], [])
    assert release_result({}) == "failed"
    assert release_result({"web1": back["web1"]}) == "taken_back"
    assert release_result(back) == "incomplete"
    fault = {"host": "web2", "gate": "ready", "text": "503", "log": ["Traceback of it"]}
    story = release_story([fault], "deploy 1.1.0", "batch 2", back, ["web3"], "Mend it.")
    assert "deploy 1.1.0 stopped in phase batch 2.\nweb2 gate ready: 503\n    Traceback of it" in story
    assert "Back on the old release: web1.\nNOT BACK: web2: it does not answer" in story
    assert story.endswith("Not touched: web3.\nMend it.")


def test_a_worker_that_came_back_does_not_hide_web_processes_that_did_not() -> None:
    facts = {"one": {"__release_returned_web": {"ok": False}, "__release_returned_worker": {"ok": True}}}
    assert release_result(release_returned(facts, ["one"], ["one"])) == "incomplete"


def test_the_version_before() -> None:
    def survey(current: str, previous: str) -> dict[str, str]:
        return {"current": current, "previous": previous}

    assert release_previous([survey("2", "1"), survey("2", "1"), survey("2", "0")])["version"] == "1"
    assert release_previous([survey("2", "1")], "0")["version"] == "0"
    assert "hosts run different releases (1, 2)" in release_previous([survey("2", "1"), survey("1", "0")])["problem"]
    assert "no release before 2 is known" in release_previous([survey("2", "")])["problem"]


def test_old_code_on_a_newer_database() -> None:
    judged = [{"work.0003": {"version": "2", "reason": "DROPPING columns"}}, {"work.0004": {"version": "2", "reason": ""}}]
    assert release_incompatible(["work.0004"], judged) == []
    assert release_incompatible(["work.0003"], judged) == ["work.0003 (of 2): DROPPING columns"]
    assert release_incompatible(["work.0009"], judged) == ["work.0009: nobody judged it"]


def test_notes_of_hosts_and_times() -> None:
    facts: dict[str, Any] = {"web1": {"__release_moved": {"opened": 5}}, "web2": {}}
    assert release_noted(["web1", "web2"], facts, "__release_moved", "opened") == {"web1": 5}
    assert release_noted(["web1", "web2"], facts, "__release_moved") == {"web1": {"opened": 5}}
    text = release_times([{"phase": "gates", "seconds": 8.0}, {"phase": "canary", "seconds": 60.0, "watched": 46}])
    assert "68.0 s, 22.0 s without watching" in text
