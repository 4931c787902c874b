"""Filters of a release's gates: before it begins (`release_gates`), and of the new version beside the old one (`release_compared`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: the folder must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from rollout_gates import GateError, by_prometheus, leader, ready
from rollout_state import table

DOCUMENTATION = r"""
name: release_gates
short_description: What must hold before a release, measured and judged
description:
  - One row per gate with the measured value and its limit. What has no value does not pass; a gate is left out only when it is named.
  - C(release_queries) in the same file makes the questions to Prometheus about single hosts, C(release_compared) judges the answers,
    C(release_gate_lines) turns rows into lines of the record, C(release_gates_table) shows rows to people.
positional: _input
options:
  _input:
    description: What was measured, as for P(rollout_gates#filter).
    type: dict
    required: true
  limits:
    description: Limit of each gate that Prometheus measures.
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
    gates: "{{ measured | release_gates(limits={'replication_lag_seconds': 30}, asked={'replication_lag_seconds': 'lag of a replica (s)'}) }}"
  ansible.builtin.debug:
    msg: "{{ gates | release_gates_table }}"
"""

RETURN = r"""
_value:
  description: Rows with host, gate, asked, measured, limit, ok, skipped.
  type: list
  elements: dict
"""

Row = dict[str, Any]
OWN_GATES = ("leader", "ready")
COMPARED = ("probe", "requests", "errors_percent", "p95_seconds")


def _names(skip: Sequence[str] | str) -> list[str]:
    return [name.strip() for name in (skip.split(",") if isinstance(skip, str) else skip) if str(name).strip()]


def _left_out(rows: Sequence[Row], skip: Sequence[str]) -> list[Row]:
    return [{"host": "", **row, "skipped": row["gate"] in skip and not row["ok"], "ok": row["ok"] or row["gate"] in skip} for row in rows]


def release_gates(measured: Mapping[str, Any], limits: Mapping[str, Any], asked: Mapping[str, str], skip: Sequence[str] | str = ()) -> list[Row]:
    """Rows before a release begins; see DOCUMENTATION."""
    known, left_out = [*OWN_GATES, *asked, *COMPARED], _names(skip)
    if unknown := [name for name in left_out if name not in known]:
        raise GateError(f"release_gates: {', '.join(unknown)} in release_skip_gates is no gate; the gates are {', '.join(known)}")
    if without := [name for name in asked if name not in limits]:
        raise GateError(f"release_gates: {', '.join(without)} has no limit; add it to release_limits")
    rows = [leader(measured["clusters"]), ready(measured["apps"])]
    rows += [by_prometheus(name, words, limits[name], measured["values"], measured["errors"]) for name, words in asked.items()]
    return _left_out(rows, left_out)


def release_queries(hosts: Sequence[str], own: Mapping[str, str], fleet: Mapping[str, str], version: str, before: str) -> dict[str, str]:
    """Questions about each host (HOST, VERSION in `own`), by name@host, and about those with the version before (BEFORE in `fleet`), by name."""
    asked = {name: query.replace("BEFORE", before) for name, query in fleet.items()}
    for host in hosts:
        asked |= {f"{name}@{host}": query.replace("HOST", host).replace("VERSION", version) for name, query in own.items()}
    return asked


def release_compared(
    hosts: Sequence[str],
    probes: Mapping[str, Any],
    values: Mapping[str, Any],
    baseline: Mapping[str, Any],
    limits: Mapping[str, Any],
    skip: Sequence[str] | str = (),
    asked: bool = True,
) -> list[Row]:
    """Rows for each host with the new version: its own answers, then its errors and times beside those of the version before.

    Where Prometheus was asked, the number of requests has a value (0 at least) unless it gave no answer; that is no pass.
    """
    rows: list[Row] = []
    for host in hosts:
        probe = probes.get(host) or {"ok": False, "text": "no answer"}
        rows.append(
            {"host": host, "gate": "probe", "asked": "ready, warm, no process killed", "measured": probe["text"], "limit": "all", "ok": probe["ok"]}
        )
        counted, wanted = values.get(f"requests@{host}"), int(limits["requests"])
        silent = asked and counted is None
        enough = (counted or 0) >= wanted
        said = f"{counted or 0:g}" + ("" if enough else ": too few requests to compare, the probe alone counts")
        rows.append(
            {
                "host": host, "gate": "requests", "asked": "requests answered since the switch",
                "measured": "no data: Prometheus gave no answer" if silent else said, "limit": f">= {wanted}", "ok": not silent,
            }
        )  # fmt: skip
        if enough:
            rows += [_beside(host, gate, words, values, baseline, limit) for gate, words, limit in _limits(baseline, limits)]
    return _left_out(rows, _names(skip))


def _limits(baseline: Mapping[str, Any], limits: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    errors, p95 = float(baseline.get("errors_percent") or 0), float(baseline.get("p95_seconds") or 0)
    return [
        ("errors_percent", "requests that failed (%)", errors + float(limits["errors_percent"])),
        ("p95_seconds", "answer time of 19 in 20 requests (s)", max(float(limits["p95_seconds"]), p95 * float(limits["p95_factor"]))),
    ]


def _beside(host: str, gate: str, words: str, values: Mapping[str, Any], baseline: Mapping[str, Any], limit: float) -> Row:
    """What has no value does not pass; of the version before, no value is 0, which is the stricter limit."""
    value, before = values.get(f"{gate}@{host}"), baseline.get(gate)
    shown = f"the version before: {'no data' if before is None else f'{float(before):.3g}'}"
    measured = "no data" if value is None else f"{float(value):.3g}"
    return {
        "host": host, "gate": gate, "asked": words, "measured": f"{measured} ({shown})", "limit": f"<= {limit:.3g}",
        "ok": value is not None and float(value) <= limit,
    }  # fmt: skip


def release_baseline(known: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the version before: the newest value of each, for in the last batch nobody is left who runs it."""
    return {name: values[name] if values.get(name) is not None else known.get(name) for name in ("errors_percent", "p95_seconds")}


def release_gate_lines(rows: Sequence[Row], phase: str) -> list[Row]:
    """Rows as lines of the record of changes."""
    return [
        {"phase": phase, "host": row["host"], "gate": row["gate"], "measured": row["measured"], "limit": row["limit"], "passed": bool(row["ok"])}
        | ({"text": "left out by name"} if row["skipped"] else {})
        for row in rows
    ]


def release_gates_table(rows: Sequence[Row]) -> str:
    """Aligned lines with a closing one."""

    def result(row: Row) -> str:
        return "SKIPPED" if row["skipped"] else "ok" if row["ok"] else "STOP"

    with_hosts = any(row["host"] for row in rows)
    header = (["host"] if with_hosts else []) + ["gate", "what", "measured", "limit", "result"]
    shown = [
        ([row["host"]] if with_hosts else []) + [row["gate"], row["asked"], re.sub(r"\s+", " ", str(row["measured"])), row["limit"], result(row)]
        for row in rows
    ]
    stopped = sum(not row["ok"] for row in rows)
    return "\n".join([*table(header, shown), f"{len(rows) - stopped} of {len(rows)} gates open" + (f", {stopped} closed" if stopped else "")])


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "release_gates": release_gates,
            "release_queries": release_queries,
            "release_compared": release_compared,
            "release_baseline": release_baseline,
            "release_gate_lines": release_gate_lines,
            "release_gates_table": release_gates_table,
        }
