#!/usr/bin/env python3
"""Lists what was changed on the platform: deploys, rollbacks, waves, switchovers, backups, drills.

  bin/history [INVENTORY] [--kind KIND] [--last N] [--long]   a line per change (default inventory: inventories/lab)
  bin/history [INVENTORY] --json                               all lines of the record
  bin/history [INVENTORY] --check                              is the record whole on every keeper, and who holds the lock

Exit status: 0, 1 when the record is not whole (--check: on every keeper), 2 on nonsense input.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
Line = dict[str, Any]


def told(inventory: str, extra: Sequence[str]) -> dict[str, Any]:
    """What the keepers said; SystemExit with Ansible's words when nobody could be asked."""
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "history.json"
        command = [str(PROJECT / ".venv/bin/ansible-playbook"), "-i", inventory, str(PROJECT / "playbooks/history.yml")]
        command += ["-e", f"history_file={answer}"]
        done = subprocess.run([*command, *extra], cwd=PROJECT, capture_output=True, text=True, check=False, env=os.environ | {"ANSIBLE_NOCOLOR": "1"})
        if not answer.exists():
            print(f"history: the record cannot be read:\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
            raise SystemExit(1)
        result: dict[str, Any] = json.loads(answer.read_text())
        return result


def changes(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines of each change, in the order in which the changes began."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(str(line["id"]), []).append(line)
    return list(found.values())


def summary(lines: Sequence[Line], held: set[str]) -> list[str]:
    """One row of the list."""
    first = next((line for line in lines if line["phase"] == "started"), lines[0])
    last = lines[-1]
    open_text = "under way" if str(last["id"]) in held else "cut off"
    result = str(last["result"]) if last["phase"] == "closed" else open_text
    versions = " -> ".join(str(first[name]) for name in ("before", "after") if first.get(name))
    closed = [line for line in lines if line.get("gate") and line.get("passed") is False]
    text = str(last.get("text") or "")
    return [first["at"], last["at"], first["kind"], first["subject"], result, versions, first["who"], first.get("reason", ""), str(len(closed)), text]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def long(lines: Sequence[Line]) -> list[str]:
    """Every event of a change."""
    rows = []
    for line in lines:
        words = [str(line[name]) for name in ("phase", "host", "gate") if line.get(name)]
        if line.get("gate"):
            words.append(f"measured {line.get('measured')}, limit {line.get('limit')}: {'passed' if line.get('passed') else 'CLOSED'}")
        words += [str(line[name]) for name in ("result", "text") if line.get(name)]
        rows.append(f"    {line['at']}  {'  '.join(words)}")
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inventory", nargs="?", default="inventories/lab")
    parser.add_argument("--json", action="store_true", help="all lines of the record, for programs")
    parser.add_argument("--kind", help="only changes of this kind, such as deploy, rollback, wave")
    parser.add_argument("--last", type=int, default=30, help="that many changes (default: 30)")
    parser.add_argument("--long", action="store_true", help="every event of each change, with the gates and what they measured")
    parser.add_argument("--check", action="store_true", help="is the record whole on every keeper")
    parser.add_argument("-e", dest="extra", action="append", default=[], metavar="VARIABLE=VALUE", help="handed to Ansible")
    options = parser.parse_args(argv)
    if not Path(options.inventory).exists():
        parser.error(f"{options.inventory} is no inventory")
    said = told(options.inventory, [word for extra in options.extra for word in ("-e", extra)])
    if options.check:
        rows = [[keeper["name"], keeper["lines"], keeper["state"], keeper["lock"].get("id", "free")] for keeper in said["keepers"]]
        print(table(("keeper", "lines", "record", "lock"), rows))
        return 0 if all(keeper["state"] == "whole" for keeper in said["keepers"]) else 1
    if said["agreed"]["problem"]:
        print(f"history: {said['agreed']['problem']}", file=sys.stderr)
        return 1
    lines = [line for line in said["agreed"]["lines"] if options.kind in (None, line["kind"])]
    if options.json:
        print(json.dumps(lines, indent=1, sort_keys=True))
        return 0
    shown = changes(lines)[-options.last :] if options.last > 0 else changes(lines)
    header = ("started", "last line", "kind", "subject", "result", "versions", "who", "why", "closed gates", "")
    held = {str(keeper["lock"].get("id")) for keeper in said["keepers"]}
    if options.long:
        for change in shown:
            print("  ".join(summary(change, held)[:8]), *long(change), sep="\n")
    else:
        print(table(header, [summary(change, held) for change in shown]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
