"""Filters of verify.yml: `collect_checks` gathers the checks of all hosts, `checks_table` shows them to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = """
name: checks_table
short_description: checks as an aligned table
description:
  - Takes a list of checks, each a dict with C(service), C(host), C(asked), C(answer) (text) and C(ok) (boolean).
  - Returns one line per check under a header, failed checks last and marked, and a closing line with the counts.
options:
  _input: {type: list, elements: dict, required: true, description: the checks}
"""

EXAMPLES = """
# {{ [{'service': 'redis', 'host': 'redis1', 'asked': 'PING', 'answer': 'PONG', 'ok': true}] | checks_table }}
"""

RETURN = """
_value: {type: str, description: the table; lines are separated by newlines}
"""

COLUMNS = ("service", "host", "asked", "answer")
# Longer answers are cut: the table must fit a terminal, the whole answer is in the JSON.
WIDEST = 60


def checks_table(checks: Sequence[Mapping[str, Any]]) -> str:
    """Aligned table of checks; see DOCUMENTATION."""
    rows = [[_cell(check, column) for column in COLUMNS] + ["ok" if check["ok"] else "FAILED"] for check in sorted(checks, key=_order)]
    header = [*COLUMNS, "result"]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    failed = sum(not check["ok"] for check in checks)
    lines.append(f"{len(checks) - failed} of {len(checks)} checks passed" + (f", {failed} FAILED" if failed else ""))
    return "\n".join(lines)


def collect_checks(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `verify_checks` of all hosts in one list; a host that never answered gives one failed check of its own."""
    checks: list[dict[str, Any]] = []
    for host in hosts:
        silent = {"service": "host", "host": host, "asked": "SSH and sudo", "answer": "no answer", "ok": False}
        checks += hostvars[host].get("verify_checks") or [silent]
    return checks


def _order(check: Mapping[str, Any]) -> tuple[bool, str, str]:
    return (not check["ok"], str(check["service"]), str(check["host"]))


def _cell(check: Mapping[str, Any], column: str) -> str:
    text = " ".join(str(check[column]).split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"checks_table": checks_table, "collect_checks": collect_checks}
