"""Filter prometheus_rows: what Prometheus answered, as rows of the table of checks."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

DOCUMENTATION = r"""
name: prometheus_rows
short_description: Answers of Prometheus as rows of the table of checks
description:
  - One row per job with the number of targets that are up, one for the rules, one for the Alertmanagers, one for critical alerts.
  - An answer that did not come is a row that says so.
positional: _input, host, alertmanagers, files
options:
  _input:
    description: Results of M(ansible.builtin.uri) for C(targets), C(rules), C(alertmanagers) and C(alerts), in this order.
    type: list
    elements: dict
    required: true
  host:
    description: The host of this Prometheus.
    type: str
    required: true
  alertmanagers:
    description: How many Alertmanagers it should know.
    type: int
    required: true
  files:
    description: From how many files it should have read rules.
    type: int
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.set_fact:
    verify_checks: "{{ verify_checks + answers.results | prometheus_rows(inventory_hostname, 1, 7) }}"
"""

RETURN = r"""
_value:
  description: Rows C({service, host, asked, answer, ok}).
  type: list
  elements: dict
"""

Row = dict[str, Any]


def _target_rows(data: Any) -> list[tuple[str, str, bool]]:
    down: dict[str, list[str]] = defaultdict(list)
    total: dict[str, int] = defaultdict(int)
    for target in data["activeTargets"]:
        job = target["labels"]["job"]
        total[job] += 1
        if target["health"] != "up":
            error = target.get("lastError") or target["health"]
            down[job].append(f"{target['labels']['instance']} ({error})")
    return [
        (f"targets of {job} up", f"{count - len(down[job])}/{count}" + (f", not {'; '.join(sorted(down[job]))}" if down[job] else ""), not down[job])
        for job, count in sorted(total.items())
    ]


def _alert_rows(data: Any) -> list[tuple[str, str, bool]]:
    def firing(severity: str) -> list[str]:
        """Names and hosts of the alerts that fire, each once."""
        labels = [alert["labels"] for alert in data["alerts"] if alert["state"] == "firing"]
        return sorted({f"{each['alertname']} ({each.get('instance', 'platform')})" for each in labels if each.get("severity") == severity})

    critical, warnings = firing("critical"), firing("warning")
    shown = ", ".join(critical) or "none"
    return [("no critical alert fires", f"{shown}; warnings: {', '.join(warnings)}" if warnings else shown, not critical)]


def prometheus_rows(answers: Any, host: str, alertmanagers: int, files: int) -> list[Row]:
    """Rows of the table of checks from four answers of Prometheus."""

    def _rule_rows(data: Any) -> list[tuple[str, str, bool]]:
        rules = [rule for group in data["groups"] for rule in group["rules"]]
        bad = sorted(f"{rule['name']} ({rule.get('lastError')})" for rule in rules if rule["health"] == "err")
        read = len({group["file"] for group in data["groups"]})
        said = "; ".join(bad) or f"{len(rules)} rules from {read}/{files} files"
        return [("alert rules work", said, bool(rules) and not bad and read == files)]

    def _manager_rows(data: Any) -> list[tuple[str, str, bool]]:
        found = len(data["activeAlertmanagers"])
        return [("Alertmanagers known", f"{found}/{alertmanagers}", found == alertmanagers)]

    readers = {"targets": _target_rows, "rules": _rule_rows, "alertmanagers": _manager_rows, "alerts": _alert_rows}
    rows: list[tuple[str, str, bool]] = []
    for (question, read), answer in zip(readers.items(), answers, strict=True):
        data = (answer.get("json") or {}).get("data")
        rows += read(data) if data is not None else [(question, str(answer.get("msg", "no answer")), False)]
    return [{"service": "prometheus", "host": host, "asked": asked, "answer": said, "ok": ok} for asked, said, ok in rows]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"prometheus_rows": prometheus_rows}
