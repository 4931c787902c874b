"""Filters of the rollout's gates: `rollout_gates` judges what was measured, `rollout_gates_table` shows it."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: the folder must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from rollout_state import rollout_state, table

DOCUMENTATION = r"""
name: rollout_gates
short_description: What must hold before a wave, measured and judged
description:
  - Takes what was measured and returns one row per gate with the measured value and its limit.
  - What has no value does not pass. A gate passes without being met only when it is named in O(skip).
positional: _input, plan
options:
  _input:
    description: >-
      C(lines) (the record), C(status) (application's state per MOA, or null where it has no command for it), C(listed) (users in the list of
      this wave, per MOA), C(apps) (per application host its answers), C(clusters) (answers of Patroni), C(values) and C(errors) (module
      prometheus_values), C(workers) (per application host C(workers) and C(threads)), C(today) (ISO date).
    type: dict
    required: true
  plan:
    description: The plan (rollout_plan).
    type: dict
    required: true
  wave:
    description: The wave that is to start; 0 asks for the gates of a running platform only.
    type: int
    required: true
  limits:
    description: Limit of each gate that Prometheus measures, by the name of the gate.
    type: dict
    required: true
  asked:
    description: Words for each gate that Prometheus measures.
    type: dict
    required: true
  skip:
    description: Gates that need not be met.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- vars:
    gates: "{{ measured | rollout_gates(plan, wave=3, limits={'errors_percent': 1}, asked={'errors_percent': 'requests that failed'}) }}"
  ansible.builtin.assert:
    that: gates | rejectattr('ok') | length == 0
"""

RETURN = r"""
_value:
  description: "Rows with gate, asked, measured, limit, ok, skipped."
  type: list
  elements: dict
"""

OWN_GATES = ("earlier_waves", "calendar", "capacity", "forecast", "version", "ready", "leader")
# Measured by Prometheus for the forecast; its limit is the share of all workers that may be busy.
BUSY, FORECAST = "busy_workers", "forecast_percent"

# Patroni 3 said master, 4 says primary or leader.
LEADER_ROLES = ("leader", "master", "primary")
SHORTEST_RANGE = 60


class GateError(ValueError):
    """Gates that were asked for wrongly."""


def _row(gate: str, asked: str, measured: str, limit: str, ok: bool) -> dict[str, Any]:
    return {"gate": gate, "asked": asked, "measured": measured, "limit": limit, "ok": ok}


def earlier_waves(measured: Mapping[str, Any], plan: Mapping[str, Any], wave: int) -> dict[str, Any]:
    """Every earlier wave recorded as complete, and its MOAs still on board as far as the application tells."""
    recorded, status = rollout_state(measured["lines"]), measured.get("status")
    before = [entry for entry in plan["waves"] if entry["wave"] < wave]
    missing = []
    for entry in before:
        number = entry["wave"]
        state = recorded["waves"].get(str(number), {}).get("state", "not started")
        gone = [code for code in entry["moas"] if status is not None and status.get(code, {}).get("state") != "onboarded"]
        if state != "complete":
            missing.append(f"wave {number} {state}")
        elif gone:
            missing.append(f"wave {number} without {', '.join(gone)}")
    shown = f"{len(before) - len(missing)}" + (f" ({'; '.join(missing[:3])}{' ...' if len(missing) > 3 else ''})" if missing else "")
    return _row("earlier_waves", "earlier waves that are complete", shown, f"= {len(before)}", not missing)


def calendar(measured: Mapping[str, Any], plan: Mapping[str, Any], wave: int) -> dict[str, Any] | None:
    """The wave's first day has come."""
    start = next(entry["start"] for entry in plan["waves"] if entry["wave"] == wave)
    if not start:
        return None
    if plan.get("example"):
        return _row("calendar", "date", f"{start} is an example", "a date that was agreed on; then remove that line of waves.csv", False)
    today = datetime.date.fromisoformat(measured["today"])
    return _row("calendar", "date", today.isoformat(), f">= {start}", today >= datetime.date.fromisoformat(start))


def _users_after(measured: Mapping[str, Any], plan: Mapping[str, Any], wave: int) -> int:
    """Users at the end of this wave: of each MOA as many as planned, unless its list has more or more are on board already."""
    listed, status = measured.get("listed") or {}, measured.get("status") or {}

    def users(moa: Mapping[str, Any]) -> int:
        known = (listed.get(moa["code"]), status.get(moa["code"], {}).get("users"))
        return max([int(moa["users"]), *(int(number) for number in known if number)])

    return sum(users(moa) for moa in plan["moas"] if moa["wave"] <= wave)


def capacity(measured: Mapping[str, Any], plan: Mapping[str, Any], wave: int) -> dict[str, Any] | None:
    """All users up to the end of this wave fit on the fleet."""
    if not plan.get("carries"):
        return None
    users = _users_after(measured, plan, wave)
    return _row("capacity", "users after this wave", str(users), f"<= {plan['carries']}", users <= plan["carries"])


def users_now(measured: Mapping[str, Any], plan: Mapping[str, Any]) -> int:
    """Users on board, as the application tells; where it tells nothing, those planned for MOAs that the record calls proven."""
    status = measured.get("status")
    if status is not None:
        return sum(int(row.get("users", 0)) for row in status.values() if row.get("state") == "onboarded")
    recorded = rollout_state(measured["lines"])["moas"]
    return sum(moa["users"] for moa in plan["moas"] if recorded.get(moa["code"], {}).get("state") == "proven")


def forecast(measured: Mapping[str, Any], plan: Mapping[str, Any], wave: int, limits: Mapping[str, Any]) -> dict[str, Any] | None:
    """What users so far keep busy at most, for as many users as there will be."""
    if FORECAST not in limits:
        return None
    asked, bound = "workers busy with all users of this wave, from each user's use so far (%)", float(limits[FORECAST])
    now, after = users_now(measured, plan), _users_after(measured, plan, wave)
    busy, workers = measured["values"].get(BUSY), sum(int(host["workers"]) * int(host["threads"]) for host in measured.get("workers") or ())
    if not now:
        return _row("forecast", asked, "nobody is on board yet", f"< {bound:g}", True)
    if busy is None or not workers:
        return _row("forecast", asked, str(measured["errors"].get(BUSY) or "no data"), f"< {bound:g}", False)
    expected = 100 * float(busy) / now * max(after, now) / workers
    shown = f"{expected:.3g} ({float(busy):.3g} of {workers} busy with {now} users, so much for {max(after, now)})"
    return _row("forecast", asked, shown, f"< {bound:g}", expected < bound)


def version(apps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One version on all application hosts; a host that does not say has another one."""
    versions = {host: str((answer.get("health") or {}).get("version") or "no answer") for host, answer in apps.items()}
    found = sorted(set(versions.values()))
    shown = found[0] if len(found) == 1 else ", ".join(f"{host} {versions[host]}" for host in sorted(versions))
    return _row("version", "version of the application on every host", shown or "no host", "one", len(found) == 1 and found != ["no answer"])


def ready(apps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """/ready/ on every application host."""
    bad = {host: answer.get("ready") or "no answer" for host, answer in apps.items() if answer.get("ready") != 200}
    shown = f"{len(apps) - len(bad)}" + (f" ({', '.join(f'{host} {bad[host]}' for host in sorted(bad))})" if bad else "")
    return _row("ready", "application hosts that answer /ready/ with 200", shown, f"= {len(apps)}", bool(apps) and not bad)


def leader(clusters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Exactly one running leader, as Patroni tells it."""
    answer = next((each for each in clusters if each.get("members")), None)
    if answer is None:
        return _row("leader", "leaders of the database cluster", "no answer from Patroni", "= 1", False)
    leaders = [m["name"] for m in answer["members"] if m.get("role") in LEADER_ROLES and m.get("state") == "running"]
    return _row(
        "leader", "leaders of the database cluster", f"{len(leaders)}" + (f" ({', '.join(leaders)})" if leaders else ""), "= 1", len(leaders) == 1
    )


def by_prometheus(name: str, asked: str, limit: Any, values: Mapping[str, Any], errors: Mapping[str, str]) -> dict[str, Any]:
    """A number below its limit; a limit of 0 must be met exactly."""
    bound, value = float(limit), values.get(name)
    wanted = f"< {bound:g}" if bound else "= 0"
    if value is None:
        return _row(name, asked, str(errors.get(name) or "no data"), wanted, False)
    return _row(name, asked, f"{float(value):.4g}", wanted, float(value) < bound if bound else float(value) == 0)


def rollout_gates(
    measured: Mapping[str, Any],
    plan: Mapping[str, Any],
    wave: Any,
    limits: Mapping[str, Any],
    asked: Mapping[str, str],
    skip: Sequence[str] | str = (),
) -> list[dict[str, Any]]:
    """Rows of the table of gates."""
    left_out = [name.strip() for name in skip.split(",") if name.strip()] if isinstance(skip, str) else [str(name) for name in skip]
    known = [*OWN_GATES, *asked]
    unknown = [name for name in left_out if name not in known]
    if unknown:
        raise GateError(f"rollout_gates: {', '.join(unknown)} in rollout_skip_gates is no gate; the gates are {', '.join(known)}")
    without = [name for name in asked if name not in limits]
    if without:
        raise GateError(f"rollout_gates: {', '.join(without)} has no limit; add it to rollout_limits")
    number = int(wave or 0)
    rows: list[dict[str, Any] | None] = []
    if number:
        rows = [earlier_waves(measured, plan, number), calendar(measured, plan, number), capacity(measured, plan, number)]
        rows.append(forecast(measured, plan, number, limits))
    rows += [version(measured["apps"]), ready(measured["apps"]), leader(measured["clusters"])]
    rows += [by_prometheus(name, words, limits[name], measured["values"], measured["errors"]) for name, words in asked.items()]
    return [{**row, "skipped": row["gate"] in left_out and not row["ok"], "ok": row["ok"] or row["gate"] in left_out} for row in rows if row]


def rollout_answers(members: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Any], alive: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each application host said; a host that was lost on the way says nothing, whatever it said before."""
    answers: dict[str, dict[str, Any]] = {}
    for member in members:
        name = member["name"]
        said = hostvars[name].get("__rollout_told", {}) if name in alive else {}
        health, ready = ([*said.get("results", ()), {}, {}])[:2]
        status = ready.get("status") or 0
        answers[name] = {"health": health.get("json"), "ready": status if status > 0 else None}
    return answers


def rollout_gates_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned lines with a closing one."""
    shown = [
        [row["gate"], row["asked"], row["measured"], row["limit"], "SKIPPED" if row["skipped"] else "ok" if row["ok"] else "STOP"] for row in rows
    ]
    stopped = sum(not row["ok"] for row in rows)
    closing = f"{len(rows) - stopped} of {len(rows)} gates open" + (f", {stopped} closed" if stopped else "")
    return "\n".join([*table(("gate", "what", "measured", "limit", "result"), shown), closing])


def rollout_gate_events(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The gates as lines of the fleet's record (role change)."""
    return [
        {"phase": "gates", "gate": row["gate"], "measured": row["measured"], "limit": row["limit"], "passed": bool(row["ok"])}
        | ({"text": "left out"} if row["skipped"] else {})
        for row in rows
    ]


def rollout_leader(clusters: Iterable[Mapping[str, Any]]) -> str:
    """Name of the host that leads the database."""
    for answer in clusters:
        for member in answer.get("members") or ():
            if member.get("role") in LEADER_ROLES:
                return str(member["name"])
    raise GateError("rollout_leader: no database host says that it leads; look at: patronictl list")


def rollout_soak(plan: Mapping[str, Any], wave: Any, default: Any) -> float:
    """Minutes that the wave is watched: the calendar's, else the default."""
    planned = next((entry["soak_minutes"] for entry in plan["waves"] if entry["wave"] == int(wave)), None)
    return float(default) if planned is None else float(planned)


def rollout_checkpoints(minutes: Any, every: Any) -> list[dict[str, Any]]:
    """Moments at which the gates are looked at: what to wait, over which time to look, and a line of progress."""
    total, step = round(float(minutes) * 60), max(1, int(every))
    points: list[dict[str, Any]] = []
    for done in [*range(step, total, step), total] if total else []:
        wait = done - (points[-1]["done"] if points else 0)
        # Rates need two samples of Prometheus, which takes one every 15 seconds.
        points.append({"done": done, "wait": wait, "range": f"{max(wait, SHORTEST_RANGE)}s", "text": f"soaking for {done} of {total} s"})
    return points


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "rollout_gates": rollout_gates,
            "rollout_answers": rollout_answers,
            "rollout_gates_table": rollout_gates_table,
            "rollout_gate_events": rollout_gate_events,
            "rollout_leader": rollout_leader,
            "rollout_soak": rollout_soak,
            "rollout_checkpoints": rollout_checkpoints,
        }
