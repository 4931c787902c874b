#!/usr/bin/python
"""One keeper's part of the fleet's change lock and of its record: an append-only file whose lines are chained by hashes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: change_record
short_description: The change lock and the record of changes on one host
description:
  - C(DIRECTORY/record.jsonl) holds one JSON object per line. Each carries the SHA-256 of itself and of the line before, so a line that was
    changed, removed or put in later is found. Lines are only ever added.
  - C(DIRECTORY/lock.json) says which change is under way. Several hosts keep both; the majority of them decides, which is the role C(change)'s work.
  - Lines that the majority does not have (a run was cut off before they reached it) are moved into C(aside-TIME.jsonl) when the host is caught up.
  - Needs Python 3.9 and nothing else.
options:
  directory:
    description: Where lock and record lie.
    type: path
    default: /var/lib/obcms/changes
  action:
    description:
      - C(look) tells how long the record is, what is wrong with it and who holds the lock. It changes nothing.
      - C(take) takes the lock for O(holder), C(free) gives it back.
      - C(append) adds O(entries) after O(base); only the holder may.
      - C(fill) makes the record of this host begin with O(lines), the record of the majority.
    type: str
    choices: [look, take, append, fill, free]
    default: look
  holder:
    description: Who takes the lock, with C(id), C(term) (a number that every later holder exceeds) and whatever people should read about it.
    type: dict
    default: {}
  over:
    description: Ids of changes whose lock C(take) may replace.
    type: list
    elements: str
    default: []
  id:
    description: Id of the change that holds the lock, for C(append), C(fill) and C(free).
    type: str
    default: ""
  base:
    description: The line that O(entries) follow, with C(seq) and C(hash).
    type: dict
    default: {}
  entries:
    description: What C(append) writes down; the module numbers and seals it.
    type: list
    elements: dict
    default: []
  lines:
    description: Whole record for C(fill).
    type: list
    elements: dict
    default: []
  full:
    description: Whether C(look) returns all lines.
    type: bool
    default: false
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Look at the record
  change_record:
  register: look

- name: Take the lock
  change_record:
    action: take
    holder: {id: 20270104T080000Z-4f1c, term: 7, kind: deploy, subject: 1.2.0, who: amina, at: "2027-01-04T08:00:00Z", reason: monthly release}
"""

RETURN = r"""
head:
  description: Last line, as C(seq), C(hash) and C(term); zeros for an empty record.
  returned: always
  type: dict
problem:
  description: What is wrong with the record, empty when its chain holds.
  returned: always
  type: str
lock:
  description: Who holds the lock, empty when it is free.
  returned: always
  type: dict
latest:
  description: Last line of the change that holds the lock.
  returned: always
  type: dict
closed:
  description: Ids of the changes that ended last.
  returned: always
  type: list
lines:
  description: All lines, oldest first.
  returned: look with O(full)
  type: list
ok:
  description: Whether the host did what was asked.
  returned: always
  type: bool
why:
  description: Why not.
  returned: always
  type: str
"""

GENESIS = "0" * 64
EMPTY = {"seq": 0, "hash": GENESIS, "term": 0}
# A lock that outlived its change is at most a few changes old: its keeper was away when it was given back.
CLOSED_SHOWN = 50

Lines = list[dict[str, Any]]


def seal_of(line: dict[str, Any]) -> str:
    """SHA-256 over everything but the seal itself; the previous seal is part of it."""
    content = {name: value for name, value in line.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def sealed(base: dict[str, Any], entries: Lines) -> Lines:
    """The entries with number, previous seal and own seal."""
    result: Lines = []
    for entry in entries:
        last = result[-1] if result else base
        line = {**entry, "seq": int(last["seq"]) + 1, "previous": last["hash"]}
        line["hash"] = seal_of(line)
        result.append(line)
    return result


def chain_problem(lines: Lines) -> str:
    """The first line that does not follow from the one before, in words."""
    previous = GENESIS
    for number, line in enumerate(lines, 1):
        if line.get("seq") != number or line.get("previous") != previous:
            return f"line {number} does not follow line {number - 1}: lines were removed or put in"
        if line.get("hash") != seal_of(line):
            return f"line {number} was changed after it was written"
        previous = line["hash"]
    return ""


def read(path: Path) -> tuple[Lines, str]:
    """Lines and what is wrong with them. A last line without its end is what a crash leaves; it was never acknowledged and is left out."""
    if not path.exists():
        return [], ""
    text = path.read_bytes().decode("utf-8", "replace")
    lines: Lines = []
    for number, row in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            line = json.loads(row)
        except ValueError:
            return lines, f"line {number} is no JSON"
        if not isinstance(line, dict):
            return lines, f"line {number} is no JSON object"
        lines.append(line)
    return lines, chain_problem(lines)


def head_of(lines: Lines) -> dict[str, Any]:
    return {name: lines[-1].get(name, 0) for name in EMPTY} if lines else dict(EMPTY)


def written(lines: Lines) -> bytes:
    return b"".join(json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n" for line in lines)


def put(path: Path, content: bytes) -> None:
    """Replace a file in one step, durably."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.chmod(0o640)
    beside.replace(path)


class Keeper:
    """The files of one host."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.record, self.lock_file = self.directory / "record.jsonl", self.directory / "lock.json"
        self.lines, self.problem = read(self.record)

    @property
    def lock(self) -> dict[str, Any]:
        """Who holds the lock. An unreadable file is held by somebody nobody knows: it takes a person to break it."""
        if not self.lock_file.exists():
            return {}
        try:
            held = json.loads(self.lock_file.read_text())
        except ValueError:
            held = None
        return held if isinstance(held, dict) and held.get("id") else {"id": "unreadable", "term": 0}

    def told(self, *, ok: bool = True, why: str = "", changed: bool = False) -> dict[str, Any]:
        """What every action returns."""
        own = [line for line in self.lines if line.get("id") == self.lock.get("id")]
        closed = [line["id"] for line in self.lines if line.get("phase") == "closed"]
        return {
            "changed": changed,
            "ok": ok,
            "why": why,
            "head": head_of(self.lines),
            "problem": self.problem,
            "lock": self.lock,
            "latest": own[-1] if own else {},
            "closed": closed[-CLOSED_SHOWN:],
        }

    def take(self, params: dict[str, Any]) -> dict[str, Any]:
        held, holder = self.lock, params["holder"]
        if held and held["id"] != holder["id"] and held["id"] not in params["over"]:
            return self.told(ok=False, why="held by another change")
        if int(holder["term"]) < max(int(held.get("term", 0)), int(head_of(self.lines)["term"])):
            return self.told(ok=False, why="a later change has been here already")
        put(self.lock_file, json.dumps(holder, sort_keys=True).encode())
        return self.told(changed=True)

    def holds(self, params: dict[str, Any]) -> bool:
        return bool(self.lock) and self.lock["id"] == params["id"]

    def append(self, params: dict[str, Any]) -> dict[str, Any]:
        if not self.holds(params):
            return self.told(ok=False, why=f"the lock is held by {self.lock['id']}" if self.lock else "the lock is free")
        if self.problem:
            return self.told(ok=False, why=self.problem)
        if {name: head_of(self.lines)[name] for name in ("seq", "hash")} != {"seq": int(params["base"]["seq"]), "hash": params["base"]["hash"]}:
            return self.told(ok=False, why="this host missed lines; the next change catches it up")
        news = sealed(params["base"], params["entries"])
        with self.record.open("a+b") as stream:
            # What a crash left of an unfinished line goes.
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(written(news))
            stream.flush()
            os.fsync(stream.fileno())
        self.record.chmod(0o640)
        self.lines += news
        return self.told(changed=bool(news))

    def fill(self, params: dict[str, Any]) -> dict[str, Any]:
        if not self.holds(params):
            return self.told(ok=False, why="the lock is not held by the change that fills")
        if self.problem or chain_problem(params["lines"]):
            return self.told(ok=False, why=self.problem or "the lines to fill with are damaged")
        known = params["lines"]
        same = next((n for n, pair in enumerate(zip(self.lines, known)) if pair[0] != pair[1]), min(len(self.lines), len(known)))
        if len(self.lines) == len(known) == same:
            return self.told()
        if self.lines[same:]:
            put(self.directory / time.strftime("aside-%Y%m%dT%H%M%SZ.jsonl", time.gmtime()), written(self.lines[same:]))
        put(self.record, written(known))
        self.lines = known
        return self.told(changed=True)

    def free(self, params: dict[str, Any]) -> dict[str, Any]:
        if not self.holds(params):
            return self.told()
        self.lock_file.unlink()
        return self.told(changed=True)


ACTIONS: dict[str, Callable[[Keeper, dict[str, Any]], dict[str, Any]]] = {
    "take": Keeper.take,
    "append": Keeper.append,
    "fill": Keeper.fill,
    "free": Keeper.free,
}


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Nobody else touches the directory meanwhile."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    with (directory / ".guard").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def act(params: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """The result of the module."""
    if params["action"] == "look" or check:
        keeper = Keeper(params["directory"])
        return {**keeper.told(), "lines": keeper.lines} if params.get("full") else keeper.told()
    with alone(Path(params["directory"])):
        return ACTIONS[params["action"]](Keeper(params["directory"]), params)


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/obcms/changes"},
            "action": {"type": "str", "choices": ["look", *ACTIONS], "default": "look"},
            "holder": {"type": "dict", "default": {}},
            "over": {"type": "list", "elements": "str", "default": []},
            "id": {"type": "str", "default": ""},
            "base": {"type": "dict", "default": {}},
            "entries": {"type": "list", "elements": "dict", "default": []},
            "lines": {"type": "list", "elements": "dict", "default": []},
            "full": {"type": "bool", "default": False},
        },
        required_if=[("action", "take", ["holder"]), ("action", "append", ["id", "base", "entries"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**act(module.params, module.check_mode))
    except OSError as error:
        module.fail_json(msg=f"change_record: {module.params['action']}: {error}")


if __name__ == "__main__":
    main()
