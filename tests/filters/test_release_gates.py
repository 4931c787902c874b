"""Gates of a release: each closes on its own condition, no data is no pass, and few requests leave the word to the probe."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from test_rollout_plan import PROJECT

from release_gates import (
    release_baseline,
    release_compared,
    release_gate_lines,
    release_gates,
    release_gates_table,
    release_queries,
)
from rollout_gates import GateError

VARIABLES = yaml.safe_load((PROJECT / "roles/release/vars/main/gates.yml").read_text())
ASKED = VARIABLES["__release_asked"]
LIMITS = {"connections_percent": 80, "replication_lag_seconds": 30, "critical_alerts": 0}
GOOD: dict[str, Any] = {
    "apps": {"web1": {"ready": 200}, "web2": {"ready": 200}},
    "clusters": [{"members": [{"name": "db1", "role": "leader", "state": "running"}]}],
    "values": {"connections_percent": 40.0, "replication_lag_seconds": 0.1, "critical_alerts": 0.0},
    "errors": {},
}
BESIDE = {"requests": 100, "errors_percent": 1, "p95_seconds": 1, "p95_factor": 2}


def closed(**changes: Any) -> list[str]:
    return [row["gate"] for row in release_gates({**GOOD, **changes}, LIMITS, ASKED) if not row["ok"]]


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("leader", {"clusters": []}),
        ("leader", {"clusters": [{"members": [{"name": "db1", "role": "replica", "state": "running"}]}]}),
        ("ready", {"apps": {"web1": {"ready": 200}, "web2": {"ready": 503}}}),
        ("ready", {"apps": {}}),
        ("connections_percent", {"values": {**GOOD["values"], "connections_percent": 80.0}}),
        ("replication_lag_seconds", {"values": {**GOOD["values"], "replication_lag_seconds": None}}),
        ("critical_alerts", {"values": {**GOOD["values"], "critical_alerts": 1.0}}),
    ],
)
def test_each_gate_closes(gate: str, changes: dict[str, Any]) -> None:
    assert closed() == []
    assert closed(**changes) == [gate]


def test_a_gate_is_left_out_by_name_only_and_shown() -> None:
    rows = release_gates({**GOOD, "clusters": []}, LIMITS, ASKED, "leader")
    assert all(row["ok"] for row in rows)
    assert "SKIPPED" in release_gates_table(rows)
    assert release_gate_lines(rows, "gates")[0]["text"] == "left out by name"
    with pytest.raises(GateError, match="leadr in release_skip_gates is no gate"):
        release_gates(GOOD, LIMITS, ASKED, ["leadr"])
    with pytest.raises(GateError, match="critical_alerts has no limit"):
        release_gates(GOOD, {"connections_percent": 1, "replication_lag_seconds": 1}, ASKED)


def compared(values: dict[str, Any], baseline: dict[str, Any] | None = None, probe: bool = True) -> list[str]:
    probes = {"web1": {"ok": probe, "text": "ready"}}
    return [row["gate"] for row in release_compared(["web1"], probes, values, baseline or {}, BESIDE) if not row["ok"]]


def test_the_new_version_beside_the_old_one() -> None:
    good = {"requests@web1": 100, "errors_percent@web1": 0.5, "p95_seconds@web1": 0.4}
    assert compared(good) == []
    assert compared({**good, "errors_percent@web1": 5.0}) == ["errors_percent"]
    assert compared({**good, "errors_percent@web1": 5.0}, {"errors_percent": 4.5}) == []
    assert compared({**good, "p95_seconds@web1": 1.5}) == ["p95_seconds"]
    assert compared({**good, "p95_seconds@web1": 1.5}, {"p95_seconds": 0.8}) == []
    assert compared({**good, "p95_seconds@web1": None}) == ["p95_seconds"]


def test_with_few_requests_the_probe_alone_counts() -> None:
    few = {"requests@web1": 99, "errors_percent@web1": 50.0}
    assert compared(few) == []
    assert compared(few, probe=False) == ["probe"]
    assert [row["ok"] for row in release_compared(["web1"], {}, {}, {}, BESIDE)] == [False, True]
    rows = release_compared(["web1"], {"web1": {"ok": True, "text": "ready"}}, few, {}, BESIDE)
    assert "too few requests to compare" in release_gates_table(rows)


def test_questions_are_about_one_host_and_one_version() -> None:
    own, fleet = VARIABLES["__release_own_queries"], VARIABLES["__release_fleet_queries"]
    asked = release_queries(["web1", "web2"], own, fleet, "1.1.0", "1.0.0")
    assert set(asked) == {*fleet, *(f"{name}@{host}" for name in own for host in ("web1", "web2"))}
    assert all(part in asked["requests@web2"] for part in ('instance="web2"', 'version="1.1.0"'))
    assert not any(word in query for query in asked.values() for word in ("HOST", "VERSION", "BEFORE"))


def test_the_last_known_numbers_of_the_old_version_stay() -> None:
    known = release_baseline({}, {"errors_percent": 0.2, "p95_seconds": 0.3})
    assert release_baseline(known, {"errors_percent": None}) == known
