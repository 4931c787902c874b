"""The report of a wave."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from test_rollout_plan import CALENDAR, PLAN

import charts
from rollout_plan import rollout_plan
from rollout_report import PROVEN, rollout_report

SIGNED = {"at": "2027-01-04T08:00:00Z", "who": "amina"}
LINES: list[dict[str, Any]] = [
    {"kind": "wave", "wave": 1, "state": "started", "detail": "", **SIGNED},
    {"kind": "restore_point", "wave": 1, "name": "before-wave-1", "lsn": "0/3000060", **SIGNED},
    {"kind": "moa", "moa": "AAA", "wave": 1, "state": "onboarded", "users": 20, "detail": "", **SIGNED},
    {"kind": "moa", "moa": "BBB", "wave": 1, "state": "onboarded", "users": 10, "detail": "", **SIGNED},
    {"kind": "moa", "moa": "AAA", "wave": 1, "state": "proven", "users": 20, "detail": "logs in", **SIGNED},
    {"kind": "moa", "moa": "BBB", "wave": 1, "state": "failed", "users": 10, "detail": "no space left", **SIGNED},
    {"kind": "moa", "moa": "CCC", "wave": 2, "state": "proven", "users": 10, "detail": "", **SIGNED},
]
SVG = "{http://www.w3.org/2000/svg}"


def test_what_it_says() -> None:
    report = rollout_report(LINES, rollout_plan(PLAN, CALENDAR), "1", {"AAA": {"users": 20, "users_logged_in": 2}}, zone="Asia/Manila")
    assert (report["state"], report["onboard"], report["users"], report["planned"]) == ("incomplete", 1, 20, 30)
    assert (report["start"], report["coordinator"]) == ("2027-01-04", "Amina")
    assert [line["what"] for line in report["timeline"]] == [
        "The wave started",
        "Restore point before-wave-1",
        "AAA, BBB: came on board",
        "AAA: proven by a login",
        "BBB: failed (no space left)",
    ]
    assert {line["at"] for line in report["timeline"]} == {"2027-01-04 16:00:00"}
    assert report["closing"].startswith("2 of 3 organisations")


def test_what_people_who_were_not_there_want_to_know() -> None:
    later = [*LINES, {"kind": "wave", "wave": 1, "state": "incomplete", "at": "2027-01-04T08:31:10Z", "who": "amina"}]
    report = rollout_report(later, rollout_plan(PLAN, CALENDAR), 1, samples=[{"second": 60, "errors_percent": 0.25}], zone="Asia/Manila")
    assert report["when"] == "2027-01-04 16:00 to 16:31, 31 minutes"
    assert report["open"] == [{"code": "BBB", "name": "Second", "why": "no space left"}]
    assert report["figures"][2] == {"value": "0.25 %", "words": "of requests failed at worst, under watch"}
    assert [row["words"] for row in report["moas"]] == ["on board", "not on board"]


def gate(asked: str, ok: bool = True, skipped: bool = False) -> dict[str, Any]:
    return {"asked": asked, "ok": ok, "skipped": skipped}


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([], ""),
        ([gate("leader"), gate("ready hosts")], "2 of 2 checks passed before the wave."),
        ([gate("leader"), gate("ready hosts", ok=False)], "1 of 2 checks passed before the wave."),
        (
            [gate("leader"), gate("ready hosts"), gate("date"), gate("backup (h)", skipped=True), gate("lag (s)", skipped=True)],
            "3 of 5 checks passed before the wave; left out on purpose: backup (h), lag (s).",
        ),
    ],
)
def test_a_check_that_was_left_out_did_not_pass(gates: list[dict[str, Any]], said: str) -> None:
    assert rollout_report(LINES, rollout_plan(PLAN), 1, gates=gates)["checks"] == said


@pytest.mark.parametrize(
    ("calendar", "wave", "said"),
    [
        (CALENDAR, 1, "Wave 2 with 1 organisations and 30 users, planned from 2027-01-18, coordinator Omar."),
        ("", 1, "Wave 2 with 1 organisations and 30 users."),
        (CALENDAR, 2, "No wave is left to start."),
    ],
)
def test_what_comes_next_is_told_as_far_as_it_is_planned(calendar: str, wave: int, said: str) -> None:
    assert rollout_report([], rollout_plan(PLAN, calendar), wave)["next"] == said


def wave(state: str, clock: str) -> dict[str, Any]:
    return {"kind": "wave", "wave": 1, "state": state, "at": f"2027-01-04T{clock}Z", "who": "amina"}


@pytest.mark.parametrize(
    ("lines", "when"),
    [
        ([], ""),
        ([wave("started", "08:00:00"), wave("complete", "08:00:20")], "2027-01-04 08:00 to 08:00, 1 minute"),
        ([wave("started", "08:00:00"), wave("complete", "08:02:05")], "2027-01-04 08:00 to 08:02, 2 minutes"),
        ([wave("started", "08:00:00"), wave("complete", "09:30:00")], "2027-01-04 08:00 to 09:30, 90 minutes"),
        ([wave("started", "08:00:00"), wave("incomplete", "08:05:00"), wave("started", "10:00:00"), wave("complete", "10:03:00")],
         "2027-01-04 10:00 to 10:03, 3 minutes"),
        ([wave("taken back", "11:00:00"), wave("taken back", "11:04:00")], "2027-01-04 11:00 to 11:04, 4 minutes"),
    ],
)  # fmt: skip
def test_a_wave_took_as_long_as_its_last_run(lines: list[dict[str, Any]], when: str) -> None:
    assert rollout_report(lines, rollout_plan(PLAN), 1)["when"] == when


@pytest.mark.parametrize(
    ("state", "detail", "finding"),
    [
        ("proven", "logs in, sees AAA, its own record, not another's (404)", PROVEN),
        ("proven", "logs in", "logs in"),
        ("failed", "its own record 7 answered 403", "its own record 7 answered 403"),
    ],
)
def test_only_a_proof_with_data_is_called_one(state: str, detail: str, finding: str) -> None:
    lines = [{**LINES[2], "state": state, "detail": detail}]
    assert rollout_report(lines, rollout_plan(PLAN), 1)["moas"][0]["finding"] == finding


def test_a_wave_is_complete_only_when_the_record_says_that_its_soak_ended_well() -> None:
    proven = [{**line, "state": "proven"} if line.get("moa") == "BBB" else line for line in LINES]
    assert rollout_report(proven, rollout_plan(PLAN), 1)["state"] == "started"
    assert rollout_report([*proven, {"kind": "wave", "wave": 1, "state": "complete", **SIGNED}], rollout_plan(PLAN), 1)["state"] == "complete"


def test_charts_and_worst_values_come_from_what_was_measured() -> None:
    samples = [{"second": 30, "p95_seconds": 0.2}, {"second": 60, "p95_seconds": None}, {"second": 90, "p95_seconds": 0.4}]
    asked = {"p95_seconds": "answer time (s)"}
    report = rollout_report(LINES, rollout_plan(PLAN), 1, samples=samples, limits={"p95_seconds": 3}, asked=asked)
    assert [chart["title"] for chart in report["charts"]] == ["Answer time"]
    assert report["charts"][0]["svg"].count("<circle") == 2
    assert report["soak"] == [{"gate": "p95_seconds", "asked": "answer time (s)", "worst": "0.4, 1 looks without data", "limit": 3.0, "ok": False}]
    assert report["watched"] == "1.5 min"
    assert report["figures"][2]["value"] == "no data"


@pytest.mark.parametrize(
    "svg",
    [
        charts.bars("a & b", []),
        charts.bars("a & b", [("<A>", 3, 2), ("B", 0, 0)]),
        charts.progress("a & b", [("wave 1", 1, 3, True), ("wave 2", 0, 0, False)]),
        charts.line("a & b", [], 0, "%"),
        charts.line("a & b", [(1, None)], 3, "s"),
        charts.line("a & b", [(1, 9.0), (2, 0.0)], 3, "s"),
    ],
)
def test_a_chart_says_in_words_what_it_shows_and_stays_inside_its_frame(svg: str) -> None:
    root = ET.fromstring(svg)
    assert root.findtext(f"{SVG}title") == "a & b"
    assert root.find(f"{SVG}desc") is not None
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    for name, limit in (("x", width), ("cx", width), ("cy", height), ("y2", height)):
        assert all(0 <= float(value) <= limit for value in re.findall(rf'\b{name}="([^"]+)"', svg)), (name, svg)


def test_nothing_breaks_on_empty_input() -> None:
    assert rollout_report([], rollout_plan(PLAN), 1)["state"] == "not started"


def test_a_limit_that_is_met_exactly_is_crossed() -> None:
    asked = {"p95_seconds": "answer time (s)", "critical_alerts": "alerts"}
    samples = [{"second": 30, "p95_seconds": 3, "critical_alerts": 0}]
    report = rollout_report(LINES, rollout_plan(PLAN), 1, samples=samples, limits={"p95_seconds": 3, "critical_alerts": 0}, asked=asked)
    assert [(row["gate"], row["ok"]) for row in report["soak"]] == [("p95_seconds", False), ("critical_alerts", True)]


def test_without_a_watch_there_is_nothing_to_show() -> None:
    report = rollout_report([], rollout_plan(PLAN), 1, limits={"p95_seconds": 3}, asked={"p95_seconds": "answer time (s)", "other": "not limited"})
    assert (report["soak"], report["charts"], report["timeline"], report["written"]) == ([], [], [], "")
    assert report["watched"] == "none"
