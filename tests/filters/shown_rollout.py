"""Whole results of the filters of the rollout at their edges; see test_shown.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollout_commands import rollout_command, rollout_preview
from rollout_plan import rollout_plan
from rollout_report import rollout_report, timeline_of
from rollout_state import rollout_wave_entry

PLAN = rollout_plan("code,name,type,wave,users\nAAA,First,ministry,1,20\nBBB,Second,office,1,10\n")
SIGNED = {"at": "2027-01-04T08:00:00Z", "who": "amina"}


def moa(code: str, state: str, **more: Any) -> dict[str, Any]:
    return {"kind": "moa", "moa": code, "wave": 1, "state": state, "users": 20, "detail": "", **SIGNED, **more}


def without(line: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in names}


# What is left out says the same as what is empty; how a wave was completed is not said.
LINES = [
    without(moa("AAA", "suspended"), "detail"),
    moa("BBB", "suspended"),
    without(moa("AAA", "failed"), "who"),
    moa("BBB", "failed", who="", name=""),
    {"kind": "wave", "wave": 1, "state": "complete", "detail": "never shown", **SIGNED},
]
CASES: dict[str, Callable[[], Any]] = {
    "commands_without_an_account": lambda: rollout_command(["onboard", "{proof_user}"], {"code": "AAA", "wave": 3}),
    "commands_preview_without_state": lambda: rollout_preview(PLAN["moas"][:1], {"AAA": {"users": 3}}, {}),
    "state_wave_entries_of_many": lambda: [
        rollout_wave_entry([moa("AAA", "failed"), moa("BBB", "onboarded")], PLAN, 1),
        rollout_wave_entry([moa("AAA", "proven"), moa("BBB", "proven")], PLAN, 1, held=["lag_seconds", "p95_seconds"]),
    ],
    "report_timeline": lambda: timeline_of(LINES, 1, "Asia/Manila"),
    "report_chart_without_unit": lambda: [
        chart["title"]
        for chart in rollout_report(LINES, PLAN, 1, samples=[{"p95_seconds": 1}], limits={"p95_seconds": 3}, asked={"p95_seconds": "answers"})[
            "charts"
        ]
    ],
}
