#!/usr/bin/python
"""The record of the rollout on one host: lines that are only ever added, each sealed by the one before, and the state they sum up to."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: rollout_record
short_description: Append-only record of the rollout with a hash chain
description:
  - C(DIRECTORY/record.jsonl) holds one JSON object per line. Each carries the SHA-256 of itself and of the line before, so a line that was
    changed, removed or put in later is found.
  - Several hosts keep the same record. A host that missed lines gets them with the next ones.
  - Needs Python 3.9 and nothing else.
options:
  directory:
    description: Where the record lies.
    type: path
    default: /var/lib/obcms/rollout
  action:
    description: C(read) returns the record and changes nothing. C(append) adds O(entries) after O(known).
    type: str
    choices: [read, append]
    default: read
  known:
    description: The record as the hosts agree on it (the lines that C(read) returned). What this host misses of it is added first.
    type: list
    elements: dict
    default: []
  entries:
    description: What C(append) writes down; the module numbers and seals it.
    type: list
    elements: dict
    default: []
  files:
    description: Files to write beside the record, name to text, each in one step. An absolute path is left out where its directory is missing.
    type: dict
    default: {}
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Read the record
  rollout_record:
  register: record

- name: Write down that a MOA is on board
  rollout_record:
    action: append
    known: "{{ record.lines }}"
    entries: [{kind: moa, moa: MOH, wave: 1, state: onboarded, at: "2027-01-04T08:00:00Z", who: amina}]
"""

RETURN = r"""
lines:
  description: All lines, oldest first.
  returned: always
  type: list
problem:
  description: What is wrong with the record, empty when its chain holds.
  returned: always
  type: str
"""

GENESIS = "0" * 64
RECORD = "record.jsonl"


class RecordError(RuntimeError):
    """What is wrong, in words for the operator."""


def seal_of(entry: dict[str, Any]) -> str:
    """SHA-256 over everything but the seal itself; the previous seal is part of it."""
    content = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def sealed(lines: list[dict[str, Any]], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with number, previous seal and own seal."""
    result: list[dict[str, Any]] = []
    for entry in entries:
        last: dict[str, Any] = ([{"n": 0, "hash": GENESIS}] + lines + result)[-1]
        line = {**entry, "n": last["n"] + 1, "previous": last["hash"]}
        line["hash"] = seal_of(line)
        result.append(line)
    return result


def chain_problem(lines: list[dict[str, Any]]) -> str:
    """The first line that does not follow from the one before, in words."""
    previous = GENESIS
    for number, line in enumerate(lines, 1):
        if line.get("n") != number or line.get("previous") != previous:
            return f"line {number} does not follow line {number - 1}: lines were removed or put in"
        if line.get("hash") != seal_of(line):
            return f"line {number} was changed after it was written"
        previous = line["hash"]
    return ""


def read(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Lines and what is wrong with them. A last line without its end is what a crash leaves; it was never acknowledged and is left out."""
    if not path.exists():
        return [], ""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    lines: list[dict[str, Any]] = []
    for number, row in enumerate(whole.splitlines(), 1):
        try:
            line = json.loads(row)
        except ValueError:
            return lines, f"line {number} is no JSON"
        if not isinstance(line, dict):
            return lines, f"line {number} is no JSON object"
        lines.append(line)
    return lines, chain_problem(lines)


def append(path: Path, lines: list[dict[str, Any]]) -> None:
    """Add the lines at the end, durably; cut what a crash left of an unfinished one."""
    with path.open("a+b") as stream:
        stream.seek(0)
        whole = stream.read().rfind(b"\n") + 1
        stream.truncate(whole)
        for line in lines:
            stream.write(json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(0o640)


def write(path: Path, text: str) -> bool:
    """Replace a file in one step; tells whether it differed."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, str(path))
    return True


def update(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring the record of this host up to date; the result of the module."""
    directory = Path(params["directory"])
    path = directory / RECORD
    lines, problem = read(path)
    if params["action"] == "read":
        return {"changed": False, "lines": lines, "problem": problem}
    known = params["known"]
    trouble = problem or chain_problem(known)
    if trouble or known[: len(lines)] != lines:
        raise RecordError(
            "rollout_record: {}: {}; compare it with the copies on the other hosts and move it away if theirs are right".format(
                path, trouble or "it has lines that the other hosts do not have"
            )
        )
    new = known[len(lines) :] + sealed(known, params["entries"])
    targets = {directory / name: text for name, text in params["files"].items()}
    if check:
        return {"changed": bool(new), "lines": lines + new, "problem": ""}
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    if new:
        append(path, new)
    for name in params["files"]:
        if not Path(name).is_absolute():
            (directory / name).parent.mkdir(mode=0o755, exist_ok=True)
    written = [str(target) for target, text in targets.items() if target.parent.is_dir() and write(target, text)]
    return {"changed": bool(new or written), "lines": lines + new, "problem": "", "written": written}


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/obcms/rollout"},
            "action": {"type": "str", "choices": ["read", "append"], "default": "read"},
            "known": {"type": "list", "elements": "dict", "default": []},
            "entries": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        result = update(module.params, module.check_mode)
    except (OSError, RecordError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
