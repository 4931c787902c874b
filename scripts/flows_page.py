#!/usr/bin/env python3
"""Writes docs/flows.md from the table of flows. Exit status 1 with --check when the page is not up to date."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "flows.md"
HEAD = """# Who talks to whom

Written by `scripts/flows_page.py` from `group_vars/all/flows.yml` and `ports.yml`. The firewall of every host follows from the same table;
what is not in it is blocked in both directions. `operators` are the networks of `firewall_operator_networks`; a team's own flows go into
`firewall_extra_flows`. All pairs of hosts and ports are tried by `bin/prove flows`.

| from | to | port | why |
|---|---|---|---|
"""


def page(flows: Sequence[Mapping[str, Any]], ports: Mapping[str, int]) -> str:
    """The page as Markdown."""

    def names(value: Any) -> str:
        return value if isinstance(value, str) else ", ".join(value)

    rows = []
    for flow in flows:
        protocol = flow.get("protocol", "tcp")
        port = f"{ports[flow['port']]}/{protocol} ({flow['port']})" if "port" in flow else protocol
        rows.append(f"| {names(flow['from'])} | {names(flow['to'])} | {port} | {flow['why']} |\n")
    return HEAD + "".join(rows)


def main(argv: Sequence[str]) -> int:
    tables = {name: yaml.safe_load((PROJECT / "group_vars" / "all" / f"{name}.yml").read_text(encoding="utf-8")) for name in ("flows", "ports")}
    text = page(tables["flows"]["firewall_flows"], tables["ports"]["platform_ports"])
    if argv == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    if argv:
        print("usage: scripts/flows_page.py [--check]", file=sys.stderr)
        return 2
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
