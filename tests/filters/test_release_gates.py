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
    assert [row["gate"] for row in rows if row["skipped"]] == ["leader"]
    for skip in (" leader , ready,", ["leader ", "", "ready"]):
        skipped = release_gates({**GOOD, "clusters": [], "apps": {}}, LIMITS, ASKED, skip)
        assert [row["gate"] for row in skipped if row["skipped"]] == ["leader", "ready"]
    # A gate that holds is not left out, though it was named.
    assert not any(row["skipped"] for row in release_gates(GOOD, LIMITS, ASKED, "leader"))


def test_a_gate_that_nobody_knows_cannot_be_left_out() -> None:
    every = "leader, ready, connections_percent, replication_lag_seconds, critical_alerts, probe, requests, errors_percent, p95_seconds"
    with pytest.raises(GateError) as refused:
        release_gates(GOOD, LIMITS, ASKED, ["leadr", "redy"])
    assert str(refused.value) == f"release_gates: leadr, redy in release_skip_gates is no gate; the gates are {every}"


def test_a_gate_without_a_limit_is_named() -> None:
    with pytest.raises(GateError) as refused:
        release_gates(GOOD, {"connections_percent": 1}, ASKED)
    assert str(refused.value) == "release_gates: replication_lag_seconds, critical_alerts has no limit; add it to release_limits"


def test_gates_in_the_table_and_in_the_record() -> None:
    rows = release_gates({**GOOD, "clusters": [], "values": {"connections_percent": 40, "critical_alerts": 2}}, LIMITS, ASKED, "leader")
    assert release_gates_table(rows).splitlines() == [
        "gate                     what                                            measured                limit  result",
        "-----------------------  ----------------------------------------------  ----------------------  -----  -------",
        "leader                   leaders of the database cluster                 no answer from Patroni  = 1    SKIPPED",
        "ready                    application hosts that answer /ready/ with 200  2                       = 2    ok",
        "connections_percent      database connections, of those allowed (%)      40                      < 80   ok",
        "replication_lag_seconds  lag of a replica that lasted 5 minutes (s)      no data                 < 30   STOP",
        "critical_alerts          critical alerts that are firing                 2                       = 0    STOP",
        "3 of 5 gates open, 2 closed",
    ]
    same = {"phase": "gates", "host": ""}
    assert release_gate_lines(rows, "gates")[:2] == [
        {**same, "gate": "leader", "measured": "no answer from Patroni", "limit": "= 1", "passed": True, "text": "left out by name"},
        {**same, "gate": "ready", "measured": "2", "limit": "= 2", "passed": True},
    ]
    assert [line["passed"] for line in release_gate_lines(rows, "gates")] == [True, True, True, False, False]


def test_the_table_about_hosts_names_them_and_keeps_each_on_one_line() -> None:
    rows = release_compared(["web1"], {"web1": {"ok": False, "text": "503\n  Traceback"}}, {}, {}, BESIDE)
    assert release_gates_table(rows[:1]).splitlines() == [
        "host  gate   what                            measured       limit  result",
        "----  -----  ------------------------------  -------------  -----  ------",
        "web1  probe  ready, warm, no process killed  503 Traceback  all    STOP",
        "0 of 1 gates open, 1 closed",
    ]
    # One row about the whole fleet beside one about a host.
    assert release_gates_table([*rows[:1], {**rows[0], "host": ""}]).splitlines()[0].startswith("host")
    assert release_gate_lines(rows[:1], "canary")[0]["host"] == "web1"


@pytest.mark.parametrize(
    ("rows", "closing"),
    [
        ([], "0 of 0 gates open"),
        ([True, True], "2 of 2 gates open"),
        ([True, False, False], "1 of 3 gates open, 2 closed"),
    ],
)
def test_the_table_ends_with_how_many_are_open(rows: list[bool], closing: str) -> None:
    row = {"host": "", "gate": "ready", "asked": "hosts", "measured": "1", "limit": "= 1", "skipped": False}
    assert release_gates_table([{**row, "ok": ok} for ok in rows]).splitlines()[-1] == closing


TOO_FEW = ": too few requests to compare, the probe alone counts"


def test_rows_of_hosts_with_the_new_version() -> None:
    values = {"requests@web1": 1500, "errors_percent@web1": 2.25, "requests@web2": 7}
    probes = {"web1": {"ok": True, "text": "ready, warm"}, "web2": {"ok": False, "text": "503"}}
    rows = release_compared(["web1", "web2"], probes, values, {"errors_percent": 1.25}, BESIDE)
    words = {row["gate"]: row["asked"] for row in rows}
    assert words == {
        "probe": "ready, warm, no process killed",
        "requests": "requests answered since the switch",
        "errors_percent": "requests that failed (%)",
        "p95_seconds": "answer time of 19 in 20 requests (s)",
    }
    assert [[row[name] for name in ("host", "gate", "measured", "limit", "ok", "skipped")] for row in rows] == [
        ["web1", "probe", "ready, warm", "all", True, False],
        ["web1", "requests", "1500", ">= 100", True, False],
        ["web1", "errors_percent", "2.25 (the version before: 1.25)", "<= 2.25", True, False],
        ["web1", "p95_seconds", "no data (the version before: no data)", "<= 1", False, False],
        ["web2", "probe", "503", "all", False, False],
        ["web2", "requests", "7" + TOO_FEW, ">= 100", True, False],
    ]


def test_a_host_that_says_nothing_does_not_pass() -> None:
    rows = release_compared(["web1"], {}, {"requests@web1": None}, {}, BESIDE)
    assert [(row["measured"], row["ok"]) for row in rows] == [("no answer", False), ("no data: Prometheus gave no answer", False)]


def test_no_answer_from_prometheus_is_left_out_by_name_only() -> None:
    probes = {"web1": {"ok": True, "text": "ready"}}
    row = release_compared(["web1"], probes, {}, {}, BESIDE, "requests")[1]
    assert (row["measured"], row["ok"], row["skipped"]) == ("no data: Prometheus gave no answer", True, True)
    # A worker answers no requests: nobody asked.
    row = release_compared(["web1"], probes, {}, {}, BESIDE, asked=False)[1]
    assert (row["measured"], row["ok"], row["skipped"]) == ("0" + TOO_FEW, True, False)
    assert [row["ok"] for row in release_compared(["web1"], probes, {"requests@web1": 0}, {}, BESIDE)] == [True, True]


def test_gates_beside_the_old_version_are_left_out_by_name() -> None:
    rows = release_compared(["web1"], {}, {"requests@web1": 100, "errors_percent@web1": 50}, {}, BESIDE, "probe,errors_percent,p95_seconds")
    assert [(row["gate"], row["ok"], row["skipped"]) for row in rows] == [
        ("probe", True, True),
        ("requests", True, False),
        ("errors_percent", True, True),
        ("p95_seconds", True, True),
    ]


def compared(values: dict[str, Any], baseline: dict[str, Any] | None = None, probe: bool = True) -> list[str]:
    probes = {"web1": {"ok": probe, "text": "ready"}}
    return [row["gate"] for row in release_compared(["web1"], probes, values, baseline or {}, BESIDE) if not row["ok"]]


def test_the_new_version_beside_the_old_one() -> None:
    good = {"requests@web1": 100, "errors_percent@web1": 0.5, "p95_seconds@web1": 0.4}
    assert compared(good) == []
    assert compared({**good, "errors_percent@web1": 1.5}) == ["errors_percent"]
    assert compared({**good, "errors_percent@web1": 5.0}, {"errors_percent": 4.5}) == []
    assert compared({**good, "p95_seconds@web1": 1.5}) == ["p95_seconds"]
    assert compared({**good, "p95_seconds@web1": 1.5}, {"p95_seconds": 0.8}) == []
    assert compared({**good, "p95_seconds@web1": None}) == ["p95_seconds"]


def test_with_few_requests_the_probe_alone_counts() -> None:
    few = {"requests@web1": 99, "errors_percent@web1": 50.0}
    assert compared(few) == []
    assert compared(few, probe=False) == ["probe"]
    assert [row["ok"] for row in release_compared(["web1"], {}, {}, {}, BESIDE, asked=False)] == [False, True]


def test_questions_are_about_one_host_and_one_version() -> None:
    own, fleet = VARIABLES["__release_own_queries"], VARIABLES["__release_fleet_queries"]
    asked = release_queries(["web1", "web2"], own, fleet, "1.1.0", "1.0.0")
    assert set(asked) == {*fleet, *(f"{name}@{host}" for name in own for host in ("web1", "web2"))}
    assert all(part in asked["requests@web2"] for part in ('instance="web2"', 'version="1.1.0"'))
    assert 'version="1.0.0"' in asked["errors_percent"]
    assert not any(word in query for query in asked.values() for word in ("HOST", "VERSION", "BEFORE"))


def test_the_last_known_numbers_of_the_old_version_stay() -> None:
    known = release_baseline({}, {"errors_percent": 0, "p95_seconds": 0.3, "requests@web1": 7})
    assert known == {"errors_percent": 0, "p95_seconds": 0.3}
    assert release_baseline(known, {"errors_percent": None}) == known
    assert release_baseline(known, {"errors_percent": 0.1, "p95_seconds": None}) == {"errors_percent": 0.1, "p95_seconds": 0.3}
    assert release_baseline({}, {}) == {"errors_percent": None, "p95_seconds": None}
