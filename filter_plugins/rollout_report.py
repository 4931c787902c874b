"""Filter rollout_report: everything that the report of a wave shows, ready for its templates."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: the folder must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from rollout_state import rollout_state, wave_state

DOCUMENTATION = r"""
name: rollout_report
short_description: What the report of a wave shows
description:
  - Puts plan, record, gates, proofs and the values seen while soaking together. Charts are SVG and need nothing else to be seen.
positional: _input, plan
options:
  _input:
    description: Lines of the record.
    type: list
    elements: dict
    required: true
  plan:
    description: The plan (rollout_plan).
    type: dict
    required: true
  wave:
    description: Number of the wave.
    type: int
    required: true
  status:
    description: The application's own state per MOA.
    type: dict
    default: {}
  gates:
    description: Rows of rollout_gates before the wave.
    type: list
    elements: dict
    default: []
  samples:
    description: Values of Prometheus while soaking, oldest first.
    type: list
    elements: dict
    default: []
  limits:
    description: Limits of the gates.
    type: dict
    default: {}
  asked:
    description: Words for the gates.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- ansible.builtin.template:
    src: report.html.j2
    dest: /tmp/wave-3.html
  vars:
    report: "{{ lines | rollout_report(plan, 3) }}"
"""

RETURN = r"""
_value:
  description: "wave, state, start, end, coordinator, moas, timeline, gates, charts, onboard, users, planned, closing."
  type: dict
"""

WIDTH, HEIGHT, ROW = 640, 120, 22
WORDS = {
    "started": "The wave started",
    "complete": "The wave is complete",
    "incomplete": "The wave is incomplete",
    "taken back": "The wave was taken back",
    "onboarded": "came on board",
    "proven": "was proven by a login",
    "failed": "failed",
    "suspended": "was suspended",
    "suspension failed": "could not be suspended",
}


def _event(line: Mapping[str, Any]) -> str:
    """One line of the timeline, in words."""
    if line["kind"] == "restore_point":
        return f"Restore point {line['name']} ({line['lsn']})"
    words = WORDS.get(line["state"], line["state"])
    text = f"{line['moa']} {words}" if line["kind"] == "moa" else words
    return text + (f": {line['detail']}" if line.get("detail") and line["state"] not in ("proven", "complete") else "")


def users_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accounts on board, of those planned, as one bar per MOA."""
    most = max([1, *(max(row["users"], row["planned"]) for row in rows)])
    bars, room = [], WIDTH - 200
    for place, row in enumerate(rows):
        y = place * ROW
        bars.append(
            f'<text x="0" y="{y + 15}">{escape(row["code"])}</text>'
            f'<rect class="planned" x="90" y="{y + 4}" width="{room * row["planned"] / most:.0f}" height="14"/>'
            f'<rect class="done" x="90" y="{y + 4}" width="{room * row["users"] / most:.0f}" height="14"/>'
            f'<text x="{room + 100}" y="{y + 15}">{row["users"]} of {row["planned"]}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {max(1, len(rows)) * ROW}" role="img" aria-label="users">{"".join(bars)}</svg>'


def line_chart(values: Sequence[float | None], limit: float) -> str:
    """Values while soaking under their limit; a moment without a value is a gap."""
    known = [value for value in values if value is not None]
    top = max([limit, *known, 1e-9]) * 1.1
    step = WIDTH / max(1, len(values) - 1)
    points: list[str] = []
    for place, value in enumerate(values):
        if value is not None:
            points.append(f'<circle cx="{place * step:.0f}" cy="{HEIGHT - HEIGHT * value / top:.0f}" r="3"/>')
    level = HEIGHT - HEIGHT * limit / top
    return (
        f'<svg viewBox="-4 0 {WIDTH + 8} {HEIGHT + 4}" role="img" aria-label="values">'
        f'<line class="limit" x1="0" x2="{WIDTH}" y1="{level:.0f}" y2="{level:.0f}"/>{"".join(points)}</svg>'
    )


def _charts(samples: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], asked: Mapping[str, str]) -> list[dict[str, str]]:
    charts = []
    for name in ("p95_seconds", "errors_percent", "connections_percent"):
        values = [sample.get(name) for sample in samples]
        known = [value for value in values if value is not None]
        if known and name in limits:
            title = f"{asked.get(name, name).split(',')[0]}: at most {max(known):.3g}, limit {limits[name]}"
            charts.append({"title": title, "svg": line_chart(values, float(limits[name]))})
    return charts


def rollout_report(
    lines: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    wave: Any,
    status: Mapping[str, Mapping[str, Any]] | None = None,
    gates: Sequence[Mapping[str, Any]] = (),
    samples: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, Any] | None = None,
    asked: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Data of the templates report.html.j2 and report.md.j2."""
    number, state = int(wave), rollout_state(lines)
    entry = next(each for each in plan["waves"] if each["wave"] == number)
    rows = []
    for moa in plan["moas"]:
        if moa["wave"] == number:
            live, known = (status or {}).get(moa["code"], {}), state["moas"].get(moa["code"], {})
            rows.append(
                {
                    "code": moa["code"],
                    "name": moa["name"],
                    "planned": moa["users"],
                    "users": live.get("users", 0),
                    "logged_in": live.get("users_logged_in", 0),
                    "state": known.get("state", "planned"),
                    "detail": known.get("detail", ""),
                }
            )
    timeline = [{"at": line["at"], "who": line["who"], "what": _event(line)} for line in lines if line.get("wave") == number]
    proven = sum(known.get("state") == "proven" for known in state["moas"].values())
    return {
        **{name: entry[name] for name in ("wave", "start", "end", "coordinator")},
        "state": wave_state(plan, number, state),
        "moas": rows,
        "onboard": sum(row["state"] == "proven" for row in rows),
        "users": sum(row["users"] for row in rows),
        "planned": entry["users"],
        "timeline": timeline,
        "gates": list(gates),
        "charts": [{"title": "Users on board, of those planned", "svg": users_chart(rows)}, *_charts(samples, limits or {}, asked or {})],
        "closing": f"{proven} of {len(plan['moas'])} organisations of the whole rollout are on board and proven.",
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"rollout_report": rollout_report}
