"""The table of checks says which target is down, and why."""

from __future__ import annotations

from typing import Any

from prometheus_rows import prometheus_rows


def target(job: str, instance: str, health: str = "up", error: str = "") -> dict[str, Any]:
    return {"labels": {"job": job, "instance": instance}, "health": health, "lastError": error}


def answers(**changed: Any) -> list[dict[str, Any]]:
    data: dict[str, Any] = {
        "targets": {"activeTargets": [target("node", "db1"), target("node", "db2"), target("redis", "cache1")]},
        "rules": {"groups": [{"file": "hosts.yml", "rules": [{"name": "HostDown", "health": "ok"}]}]},
        "alertmanagers": {"activeAlertmanagers": [{}]},
        "alerts": {"alerts": [{"labels": {"alertname": "Watchdog", "severity": "none"}, "state": "firing"}]},
        **changed,
    }
    return [{"json": {"data": value}} if value is not None else {"msg": "Connection refused"} for value in data.values()]


def bad(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["asked"], row["answer"]) for row in rows if not row["ok"]]


def test_all_is_well() -> None:
    rows = prometheus_rows(answers(), "mon1", 1, 1)
    assert bad(rows) == []
    assert [(row["asked"], row["answer"]) for row in rows[:2]] == [("targets of node up", "2/2"), ("targets of redis up", "1/1")]


def test_a_target_that_is_down_is_named_with_its_error() -> None:
    targets = {"activeTargets": [target("node", "db1"), target("node", "db2", "down", "connection refused")]}
    assert bad(prometheus_rows(answers(targets=targets), "mon1", 1, 1)) == [("targets of node up", "1/2, not db2 (connection refused)")]


def test_no_rules_is_as_bad_as_a_broken_one() -> None:
    assert bad(prometheus_rows(answers(rules={"groups": []}), "mon1", 1, 1)) == [("alert rules work", "0 rules from 0/1 files")]
    broken = {"groups": [{"file": "hosts.yml", "rules": [{"name": "HostDown", "health": "err", "lastError": "parse"}]}]}
    assert bad(prometheus_rows(answers(rules=broken), "mon1", 1, 1)) == [("alert rules work", "HostDown (parse)")]


def test_a_file_of_rules_that_was_not_read_is_counted() -> None:
    assert bad(prometheus_rows(answers(), "mon1", 1, 2)) == [("alert rules work", "1 rules from 1/2 files")]


def test_critical_alerts_that_fire_are_named_and_pending_ones_are_not() -> None:
    labels = {"alertname": "HostDown", "severity": "critical"}
    fired = [{"labels": {**labels, "instance": name}, "state": state} for name, state in (("db1", "firing"), ("db2", "pending"))]
    assert bad(prometheus_rows(answers(alerts={"alerts": fired}), "mon1", 1, 1)) == [("no critical alert fires", "HostDown (db1)")]


def test_a_missing_alertmanager_and_a_missing_answer() -> None:
    rows = prometheus_rows(answers(alertmanagers={"activeAlertmanagers": []}, alerts=None), "mon1", 1, 1)
    assert bad(rows) == [("Alertmanagers known", "0/1"), ("alerts", "Connection refused")]


def test_whole_rows_and_several_findings_in_one() -> None:
    targets = {"activeTargets": [target("node", name, "down", error) for name, error in (("db2", ""), ("db1", "refused"))]}
    groups = [[{"name": "A", "health": "ok"}, {"name": "C", "health": "err"}], [{"name": "B", "health": "err"}]]
    rules = {"groups": [{"file": "hosts.yml", "rules": group} for group in groups]}
    severe = [{"labels": {"alertname": name, "severity": "critical"}, "state": "firing"} for name in ("Z", "Y")]
    other = [{"labels": {"alertname": "Watchdog"}, "state": "firing"}]
    found = prometheus_rows(answers(targets=targets, rules=rules, alerts={"alerts": severe + other}), "mon1", 1, 1)
    assert found == [
        {"service": "prometheus", "host": "mon1", "asked": asked, "answer": said, "ok": ok}
        for asked, said, ok in (
            ("targets of node up", "0/2, not db1 (refused); db2 (down)", False),
            ("alert rules work", "B (None); C (None)", False),
            ("Alertmanagers known", "1/1", True),
            ("no critical alert fires", "Y (platform), Z (platform)", False),
        )
    ]


def test_what_a_healthy_prometheus_says() -> None:
    rows = prometheus_rows(answers(), "mon1", 1, 1)
    assert [row["answer"] for row in rows] == ["2/2", "1/1", "1 rules from 1/1 files", "1/1", "none"]


def test_no_answer_at_all() -> None:
    rows = prometheus_rows([{}, {"json": None, "msg": "timed out"}, {"json": {}}, {"json": {"data": {"alerts": []}}}], "mon1", 1, 1)
    assert [(row["asked"], row["answer"], row["ok"]) for row in rows] == [
        ("targets", "no answer", False),
        ("rules", "timed out", False),
        ("alertmanagers", "no answer", False),
        ("no critical alert fires", "none", True),
    ]


def test_warnings_are_shown_and_fail_nothing() -> None:
    alerts = [{"labels": {"alertname": "Slow", "severity": "warning", "instance": name}, "state": "firing"} for name in ("web2", "web1")]
    row = prometheus_rows(answers(alerts={"alerts": alerts}), "mon1", 1, 1)[-1]
    assert (row["answer"], row["ok"]) == ("none; warnings: Slow (web1), Slow (web2)", True)
