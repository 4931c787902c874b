"""Filter rollout_report: everything that the report of a wave shows, ready for its templates."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

# Ansible loads every filter file by itself, outside any package: the folders beside it must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
import charts
from rollout_state import rollout_state, wave_standing

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
  zone:
    description: Time zone of all times in the report.
    type: str
    default: UTC
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
  description: >-
    wave, state, verdict, when, watched, checks, open, next, start, end, coordinator, zone, written, figures, moas, timeline, gates, soak,
    progress, accounts, charts, onboard, users, planned, closing.
  type: dict
"""

WORDS = {
    "started": "The wave started",
    "complete": "The wave is complete",
    "incomplete": "The wave is incomplete",
    "taken back": "The wave was taken back",
    "onboarded": "came on board",
    "proven": "proven by a login",
    "failed": "failed",
    "suspended": "suspended",
    "suspension failed": "could not be suspended",
}
# What a reader who was not there needs to know of each end.
VERDICTS = {
    "complete": "Every organisation of this wave is on board, and each was proven by a login of its own.",
    "incomplete": "Not every organisation of this wave is on board yet. Those that are can work; the others were not let in half ready.",
    "taken back": "The wave was taken back: its organisations are shut out for now, and all their data are kept.",
    "started": "The wave is under way.",
    "not started": "The wave has not started.",
}
# What a state means to people who do not run the platform.
STATES = {
    "planned": "not yet on board",
    "onboarded": "accounts made, not proven yet",
    "proven": "on board",
    "failed": "not on board",
    "suspended": "shut out, data kept",
    "suspension failed": "could not be shut out",
}
PROVEN = "Signs in, sees its own data, is refused another's."
# Charts of the time under watch: gate, unit.
CHARTS = (("p95_seconds", "s"), ("errors_percent", "%"), ("connections_percent", "%"), ("cpu_percent", "%"))


def _event(kind: str, state: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """One line of the timeline, in words; MOAs of which the same is to be said share it."""
    if kind == "restore_point":
        return f"Restore point {lines[0]['name']}"
    words = WORDS.get(state, state)
    detail = str(lines[0].get("detail") or "") if state not in ("proven", "complete") else ""
    text = f"{', '.join(line['moa'] for line in lines)}: {words}" if kind == "moa" else words
    return text + (f" ({detail})" if detail else "")


def local(moment: str, zone: str) -> str:
    """A moment of the record, which is UTC, as people of that zone write it."""
    return datetime.datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def timeline_of(lines: Iterable[Mapping[str, Any]], wave: int, zone: str) -> list[dict[str, str]]:
    """What happened to the wave, oldest first."""

    def same(line: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(line.get(name, "")) for name in ("at", "who", "kind", "state", "name")) + (
            () if line.get("state") == "proven" else (str(line.get("detail", "")),)
        )

    mine = [line for line in lines if line.get("wave") == wave]
    return [{"at": local(key[0], zone), "who": key[1], "what": _event(key[2], key[3], list(group))} for key, group in groupby(mine, key=same)]


def soak_rows(samples: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """The worst value of each gate while the wave was watched, beside its limit."""
    rows = []
    for name, words in asked.items():
        known = [float(sample[name]) for sample in samples if sample.get(name) is not None]
        if samples and name in limits:
            gaps = len(samples) - len(known)
            worst = f"{max(known):.3g}" if known else "no data"
            missed = f", {gaps} looks without data" if known and gaps else ""
            bound = float(limits[name])
            ok = bool(known) and not gaps and (max(known) < bound if bound else max(known) == 0)
            rows.append({"gate": name, "asked": words, "worst": worst + missed, "limit": bound, "ok": ok})
    return rows


def _charts(samples: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], asked: Mapping[str, str]) -> list[dict[str, str]]:
    drawn = []
    for name, unit in CHARTS:
        values = [(float(sample.get("second", 0)) / 60, sample.get(name)) for sample in samples]
        if name in limits and any(value is not None for _, value in values):
            title = asked.get(name, name).rpartition(" (")[0] or asked.get(name, name)
            drawn.append({"title": title[:1].upper() + title[1:], "svg": charts.line(title, values, float(limits[name]), unit, charts.NARROW)})
    return drawn


def _rows(plan: Mapping[str, Any], wave: int, state: Mapping[str, Any], status: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for moa in plan["moas"]:
        if moa["wave"] == wave:
            live, known = status.get(moa["code"], {}), state["moas"].get(moa["code"], {})
            found = {"state": known.get("state", "planned"), "detail": known.get("detail", "")}
            counted = {"planned": moa["users"], "users": live.get("users", 0), "logged_in": live.get("users_logged_in", 0)}
            words = STATES.get(str(found["state"]), found["state"])
            finding = PROVEN if found["state"] == "proven" and "own record" in str(found["detail"]) else found["detail"]
            rows.append({"code": moa["code"], "name": moa["name"], **counted, **found, "words": words, "finding": finding})
    return rows


def _span(mine: Sequence[Mapping[str, Any]], zone: str) -> str:
    """When the last run of the wave was, and how long it took."""
    begins = [number for number, line in enumerate(mine) if line.get("kind") == "wave" and line.get("state") == "started"]
    run = mine[begins[-1] :] if begins else mine
    if not run:
        return ""
    first, last = (datetime.datetime.fromisoformat(str(line["at"])) for line in (run[0], run[-1]))
    minutes = max(1, round((last - first).total_seconds() / 60))
    return f"{local(str(run[0]['at']), zone)[:16]} to {local(str(run[-1]['at']), zone)[11:16]}, {minutes} minute{'s' if minutes > 1 else ''}"


def _checks(gates: Sequence[Mapping[str, Any]]) -> str:
    """The gates in one sentence."""
    if not gates:
        return ""
    out = [str(row["asked"]) for row in gates if row.get("skipped")]
    passed = sum(bool(row.get("ok")) and not row.get("skipped") for row in gates)
    return f"{passed} of {len(gates)} checks passed before the wave" + (f"; left out on purpose: {', '.join(out)}." if out else ".")


def _next(plan: Mapping[str, Any], state: Mapping[str, Any], wave: int) -> str:
    """What comes after this wave."""
    entry = next((each for each in plan["waves"] if each["wave"] > wave and wave_standing(plan, each["wave"], state) != "complete"), None)
    if entry is None:
        return "No wave is left to start."
    when = f", planned from {entry['start']}" if entry["start"] else ""
    who = f", coordinator {entry['coordinator']}" if entry["coordinator"] else ""
    return f"Wave {entry['wave']} with {len(entry['moas'])} organisations and {entry['users']} users{when}{who}."


def rollout_report(
    lines: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    wave: Any,
    status: Mapping[str, Mapping[str, Any]] | None = None,
    gates: Sequence[Mapping[str, Any]] = (),
    samples: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, Any] | None = None,
    asked: Mapping[str, str] | None = None,
    zone: str = "UTC",
) -> dict[str, Any]:
    """Data of the templates report.html.j2 and report.md.j2."""
    number, state = int(wave), rollout_state(lines)
    entry = next(each for each in plan["waves"] if each["wave"] == number)
    rows = _rows(plan, number, state, status or {})
    proven = [moa["code"] for moa in plan["moas"] if state["moas"].get(moa["code"], {}).get("state") == "proven"]
    onboard, users = sum(row["state"] == "proven" for row in rows), sum(row["users"] for row in rows)
    blocks = [
        (f"wave {each['wave']}", sum(code in proven for code in each["moas"]), len(each["moas"]), each["wave"] == number) for each in plan["waves"]
    ]
    failed = [float(sample["errors_percent"]) for sample in samples if sample.get("errors_percent") is not None]
    watched = f"{max(float(sample.get('second', 0)) / 60 for sample in samples):g} min" if samples else "none"
    standing = wave_standing(plan, number, state)
    timeline = timeline_of(lines, number, zone)
    return {
        **{name: entry[name] for name in ("wave", "start", "end", "coordinator")},
        "state": standing,
        "watched": watched,
        "when": _span([line for line in lines if line.get("wave") == number], zone),
        "checks": _checks(gates),
        "next": _next(plan, state, number),
        "open": [{"code": row["code"], "name": row["name"], "why": row["finding"] or row["words"]} for row in rows if row["state"] != "proven"],
        "verdict": VERDICTS[standing],
        "zone": zone,
        "written": timeline[-1]["at"] if timeline else "",
        "figures": [
            {"value": f"{onboard} of {len(rows)}", "words": "organisations on board and proven"},
            {"value": f"{users} of {entry['users']}", "words": "user accounts"},
            {"value": f"{max(failed):.2g} %" if failed else "no data", "words": "of requests failed at worst, under watch"},
            {"value": f"{len(proven)} of {len(plan['moas'])}", "words": "organisations of the whole rollout"},
        ],
        "moas": rows,
        "onboard": onboard,
        "users": users,
        "planned": entry["users"],
        "timeline": timeline,
        "gates": list(gates),
        "soak": soak_rows(samples, limits or {}, asked or {}),
        "progress": charts.progress("Organisations on board, wave by wave", blocks),
        "accounts": charts.bars("User accounts, of those planned", [(row["code"], row["users"], row["planned"]) for row in rows]),
        "charts": _charts(samples, limits or {}, asked or {}),
        "closing": f"{len(proven)} of {len(plan['moas'])} organisations of the whole rollout are on board and proven.",
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"rollout_report": rollout_report}
