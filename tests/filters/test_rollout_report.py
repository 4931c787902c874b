"""The report of a wave."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from test_rollout_plan import CALENDAR, PLAN

from rollout_plan import rollout_plan
from rollout_report import line_chart, rollout_report, users_chart

SIGNED = {"at": "2027-01-04T08:00:00Z", "who": "amina"}
LINES: list[dict[str, Any]] = [
    {"kind": "wave", "wave": 1, "state": "started", "detail": "", **SIGNED},
    {"kind": "restore_point", "wave": 1, "name": "before-wave-1", "lsn": "0/3000060", **SIGNED},
    {"kind": "moa", "moa": "AAA", "wave": 1, "state": "proven", "users": 20, "detail": "logs in", **SIGNED},
    {"kind": "moa", "moa": "BBB", "wave": 1, "state": "failed", "users": 10, "detail": "no space left", **SIGNED},
    {"kind": "moa", "moa": "CCC", "wave": 2, "state": "proven", "users": 10, "detail": "", **SIGNED},
]


def test_what_it_says() -> None:
    report = rollout_report(LINES, rollout_plan(PLAN, CALENDAR), "1", {"AAA": {"users": 20, "users_logged_in": 2}})
    assert (report["state"], report["onboard"], report["users"], report["planned"]) == ("incomplete", 1, 20, 30)
    assert (report["start"], report["coordinator"]) == ("2027-01-04", "Amina")
    assert [line["what"] for line in report["timeline"]] == [
        "The wave started",
        "Restore point before-wave-1 (0/3000060)",
        "AAA was proven by a login",
        "BBB failed: no space left",
    ]
    assert report["closing"].startswith("2 of 3 organisations")


def test_charts_are_drawn_from_what_was_measured() -> None:
    samples = [{"p95_seconds": 0.2}, {"p95_seconds": None}, {"p95_seconds": 0.4}]
    report = rollout_report(LINES, rollout_plan(PLAN), 1, samples=samples, limits={"p95_seconds": 3}, asked={"p95_seconds": "answer time, last hour"})
    assert [chart["title"] for chart in report["charts"]] == ["Users on board, of those planned", "answer time: at most 0.4, limit 3"]
    for chart in report["charts"]:
        ET.fromstring(chart["svg"])
    assert line_chart([0.2, None, 0.4], 3).count("<circle") == 2


def test_nothing_breaks_on_empty_input() -> None:
    ET.fromstring(users_chart([]))
    ET.fromstring(line_chart([], 0))
    assert rollout_report([], rollout_plan(PLAN), 1)["state"] == "not started"
