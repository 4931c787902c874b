"""Whole results of the filters of the change lock; see test_shown.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from change_lock import change_agreed, change_behind, change_done, change_keepers_said, change_lock, change_short, change_why

KEEPERS = [{"name": name} for name in ("db1", "db2", "db3")]
WANTED = {"id": "new", "kind": "deploy", "subject": "1.2.0", "resume": False, "break": False}
LOCK: dict[str, Any] = {
    "id": "old",
    "term": 4,
    "kind": "wave",
    "subject": "wave 3",
    "who": "amina",
    "at": "2027-01-04T08:00:00Z",
    "reason": "pilot",
    "controller": "ops1",
}
OTHER = {**LOCK, "id": "other", "term": "7", "kind": "deploy", "subject": "1.2.0"}
LAST = {"seq": 2, "at": "2027-01-04T08:05:00Z", "phase": "waves", "host": "web1", "gate": "lag", "text": "closed", "more": "unseen"}


def copy(name: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {key: lines[-1][key] for key in ("seq", "hash", "term")} if lines else {"seq": 0, "hash": "0", "term": 0}
    return {"item": {"name": name}, "head": head, "lines": list(lines), "problem": "", "lock": {}, "latest": {}, "closed": [], **more}


def line(seq: int, term: int) -> dict[str, Any]:
    return {"seq": seq, "term": term, "hash": f"{seq}-{term}"}


def heads(name: str, seq: int, term: int) -> dict[str, Any]:
    """An answer that carries no lines."""
    return {key: value for key, value in copy(name, line(seq, term)).items() if key != "lines"}


SILENT = {"item": {"name": "db3"}, "ok": False, "why": "no answer", "msg": "no route"}
FREE = [copy(each["name"], line(1, 3)) for each in KEEPERS]
HELD = [copy(each["name"], line(1, 3), lock=LOCK) for each in KEEPERS]


def opening(looks: list[dict[str, Any]], **wanted: Any) -> Callable[[], Any]:
    return lambda: change_lock(looks, KEEPERS, {**WANTED, **wanted})


CASES: dict[str, Callable[[], Any]] = {
    "change_free": opening(FREE),
    "change_free_resumed": opening(FREE, resume=True),
    "change_held": opening(HELD),
    "change_held_latest": opening(
        [copy("db1", lock=LOCK, latest={**LAST, "seq": "1", "text": "older"}), copy("db2", lock=LOCK, latest=LAST), SILENT]
    ),
    "change_held_bare": opening([copy("db1", lock={"id": "old", "term": 2}), copy("db2", latest={"seq": 1}), SILENT]),
    "change_held_twice": opening([copy("db1", lock=LOCK), copy("db2", lock=OTHER), copy("db3")]),
    "change_held_resumed": opening(HELD, kind="wave", subject="wave 3", resume=True),
    "change_held_other_subject": opening(HELD, kind="wave", subject="wave 4", resume=True),
    "change_resume_is_not_newest": opening([copy("db1", lock=LOCK), copy("db2", lock=OTHER), SILENT], kind="wave", subject="wave 3", resume=True),
    "change_resume_is_newest": opening([copy("db1", lock=LOCK), copy("db2", lock=OTHER), SILENT], resume=True),
    "change_broken": opening([copy("db1", lock=LOCK), copy("db2", lock=OTHER), SILENT], **{"break": True}),
    "change_ended": opening([copy("db1", closed=["old"]), copy("db2", lock=LOCK), SILENT]),
    "change_few": opening([copy("db1"), copy("db2", lock=LOCK, problem="line 3 was changed"), SILENT], **{"break": True}),
    "change_nobody": opening([SILENT]),
    "change_damaged": opening([copy("db1"), copy("db2"), copy("db3", problem="line 3 was changed")]),
    "change_short": lambda: [change_short(each) for each in ({}, LOCK, {"kind": "drill"}, {"kind": "drill", "subject": "", "who": "omar"})],
    "change_done": lambda: [change_done([{"ok": True}] * good + [{"ok": False}, {}][: 3 - good], KEEPERS) for good in (0, 1, 2, 3)],
    "change_agreed": lambda: change_agreed(
        [copy("db1", line(1, 9)), copy("db2", line(1, 1), line(2, 2)), copy("db3", line(1, 1), line(2, 2))], KEEPERS
    ),
    "change_agreed_longest": lambda: change_agreed([copy("db1", line(1, 1)), copy("db2", line(1, 1), line(2, 1)), copy("db3")], KEEPERS),
    "change_agreed_latest": lambda: change_agreed(
        [copy("db1", line(1, 1), line(2, 1), line(3, 1)), copy("db2", line(1, 1), line(2, 2)), SILENT], KEEPERS
    ),
    "change_agreed_prefix": lambda: change_agreed([copy("db1", line(1, 9)), copy("db2", line(1, 1)), copy("db3", line(1, 1), line(2, 2))], KEEPERS),
    "change_agreed_heads": lambda: change_agreed([heads("db1", 5, 5), heads("db2", 4, 4), heads("db3", 4, 4)], KEEPERS),
    "change_agreed_one_without_lines": lambda: change_agreed([copy("db1", line(4, 4)), heads("db2", 4, 4), heads("db3", 5, 5)], KEEPERS),
    "change_agreed_damaged": lambda: change_agreed([copy("db1", line(9, 9), problem="x"), copy("db2", line(1, 1)), copy("db3", line(1, 1))], KEEPERS),
    "change_agreed_few": lambda: change_agreed([copy("db1"), SILENT], KEEPERS),
    "change_behind": lambda: change_behind(
        [*FREE[:1], copy("db2", line(2, 3)), copy("db3", problem="x"), SILENT, {"head": {}, "problem": ""}], FREE[0]["head"]
    ),
    "change_why": lambda: change_why([{"ok": True}, SILENT, {"item": None, "msg": "no route"}, {"item": {"name": "db2"}, "ok": False}]),
    "change_keepers_said": lambda: change_keepers_said([*HELD[:1], copy("db2"), copy("db3", problem="damaged"), SILENT, {}], HELD[0]["head"]),
}
