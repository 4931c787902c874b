"""Filters of the role change: what the keepers' answers mean. The majority of them decides."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "filter_plugins"))
from majority import majority

DOCUMENTATION = r"""
name: change_lock
short_description: May this change start?
description:
  - Takes what the keepers of the change lock said (module C(change_record), in a loop with C(item.name) as the host) and the wanted change.
  - C(change_agreed) in the same file returns the record that the majority has, C(change_done) whether a majority did what was asked,
    C(change_behind) the keepers that have to be caught up, C(change_short) a change in a few words.
positional: _input, members, wanted
options:
  _input: {description: The answers., type: list, elements: dict, required: true}
  members: {description: All keepers., type: list, elements: dict, required: true}
  wanted:
    description: The change, with C(id), C(kind), C(subject), and the booleans C(resume) and C(break).
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    opening: "{{ looks.results | change_lock(change_keepers, {'id': 'x', 'kind': 'deploy', 'subject': '1.2.0', 'resume': false, 'break': false}) }}"
  ansible.builtin.debug:
    msg: "{{ opening.refusal or opening.id }}"
"""

RETURN = r"""
_value:
  description: >-
    C(refusal) (empty when the change may start), C(few) (too few keepers answer), C(id) (that of the earlier run with resume), C(term),
    C(over) (ids whose locks are replaced), C(resumed), C(broken) (the change whose lock is broken, or nothing) and C(warnings).
  type: dict
"""


def _name(answer: Mapping[str, Any]) -> str:
    return str((answer.get("item") or {}).get("name", "?"))


def _answered(answers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [answer for answer in answers if "head" in answer]


def change_short(change: Mapping[str, Any]) -> str:
    """Who, what, since when and why."""
    if "kind" not in change:
        return "a change whose lock cannot be read"
    text = f"{change['kind']} {change.get('subject', '')}".strip()
    return f"{text}, started by {change.get('who', '?')} from {change.get('controller', '?')} at {change.get('at', '?')} ({change.get('reason', '')})"


def _latest(line: Mapping[str, Any]) -> str:
    if not line:
        return ""
    words = [str(line[name]) for name in ("phase", "host", "gate", "text") if line.get(name)]
    return f"Its last line in the record is of {line.get('at', '?')}: {' '.join(words)}."


def _few(answers: Sequence[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]) -> str:
    """Why there is no majority; empty when there is one."""
    whole = [answer for answer in answers if not answer["problem"]]
    if len(whole) >= majority(members):
        return ""
    said = {_name(answer): answer["problem"] or "whole" for answer in answers}
    rows = [f"{member['name']}: {said.get(str(member['name']), 'no answer')}" for member in members]
    return f"{len(whole)} of {len(members)} keepers have a whole record, {majority(members)} are needed ({'; '.join(rows)})"


def _warnings(answers: Sequence[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]) -> list[str]:
    silent = {str(member["name"]) for member in members} - {_name(answer) for answer in answers}
    damaged = [
        f"the record on {_name(answer)} is damaged: {answer['problem']}; keep a copy, move record.jsonl away, and the next change fills it again"
        for answer in answers
        if answer["problem"]
    ]
    return [f"keeper {name} does not answer" for name in sorted(silent)] + damaged


def change_lock(answers: Iterable[Mapping[str, Any]], members: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """May this change start? See DOCUMENTATION."""
    looks = _answered(answers)
    closed = {each for look in looks for each in look["closed"]}
    locks = [look["lock"] for look in looks if look["lock"]]
    # A keeper that was away when a change ended still has its lock.
    held = sorted((lock for lock in locks if lock["id"] not in closed), key=lambda lock: -int(lock["term"]))
    own = [lock for lock in held if wanted["resume"] and (lock.get("kind"), lock.get("subject")) == (wanted["kind"], wanted["subject"])]
    strange = [] if own and own[0] == held[0] else held
    terms = [int(lock["term"]) for lock in locks] + [int(look["head"]["term"]) for look in looks]
    few = _few(looks, members)
    refusal = f"{few}. To go on without lock and record: -e unrecorded=true" if few else ""
    if not refusal and strange and not wanted["break"]:
        where = ", ".join(_name(look) for look in looks if look["lock"] and look["lock"]["id"] == strange[0]["id"])
        latest: Mapping[str, Any] = max((look["latest"] for look in looks if look["latest"]), key=lambda line: int(line["seq"]), default={})
        refusal = (
            f"under way is {change_short(strange[0])}. Held on {where}. {_latest(latest)} "
            "If that run is over: the same command with -e resume=true takes it up where it stopped; any other change needs -e break_lock=true"
        )
    return {
        "refusal": refusal,
        "few": bool(few),
        "id": own[0]["id"] if own and not strange else wanted["id"],
        "resumed": bool(own) and not strange,
        "term": max(terms, default=0) + 1,
        "over": sorted({str(lock["id"]) for lock in locks}) if not refusal else [],
        "broken": strange[0] if strange and not refusal else {},
        "warnings": _warnings(looks, members),
    }


def change_done(answers: Iterable[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the majority did what was asked."""
    return sum(bool(answer.get("ok")) for answer in answers) >= majority(members)


def change_agreed(answers: Iterable[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The record that the majority has: C(problem), C(head) and, where the answers have them, C(lines).

    A copy counts with every other one that it does not contradict; among equals the later change, then the longer copy is right,
    because whoever writes has heard from a majority before.
    """
    whole = [answer for answer in _answered(answers) if not answer["problem"]]
    problem = _few(_answered(answers), members)
    if problem:
        return {"problem": problem, "head": {}, "lines": []}

    def agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        if "lines" not in one or "lines" not in other:
            return bool(one["head"] == other["head"])
        short = min(len(one["lines"]), len(other["lines"]))
        return bool(one["lines"][:short] == other["lines"][:short])

    def weight(one: Mapping[str, Any]) -> tuple[int, int, int]:
        return sum(agree(one, other) for other in whole), int(one["head"]["term"]), int(one["head"]["seq"])

    best = max(whole, key=weight)
    return {"problem": "", "head": dict(best["head"]), "lines": list(best.get("lines", []))}


def change_behind(answers: Iterable[Mapping[str, Any]], head: Mapping[str, Any]) -> list[str]:
    """Names of the keepers whose whole record does not end like the agreed one."""
    return [_name(answer) for answer in _answered(answers) if not answer["problem"] and dict(answer["head"]) != dict(head)]


def change_why(answers: Iterable[Mapping[str, Any]]) -> str:
    """What those keepers said that did not do what was asked."""
    return "; ".join(f"{_name(answer)}: {answer.get('why') or answer.get('msg') or 'no answer'}" for answer in answers if not answer.get("ok"))


def change_keepers_said(answers: Iterable[Mapping[str, Any]], head: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per keeper: C(name), C(lines), C(state) and C(lock)."""
    rows = []
    for answer in answers:
        behind = "head" in answer and dict(answer["head"]) != dict(head)
        state = "no answer" if "head" not in answer else answer["problem"] or ("differs; the next change catches it up" if behind else "whole")
        rows.append({"name": _name(answer), "lines": answer.get("head", {}).get("seq", 0), "state": state, "lock": answer.get("lock") or {}})
    return rows


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "change_lock": change_lock,
            "change_short": change_short,
            "change_done": change_done,
            "change_agreed": change_agreed,
            "change_behind": change_behind,
            "change_why": change_why,
            "change_keepers_said": change_keepers_said,
        }
