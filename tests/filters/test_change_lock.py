"""What the keepers' answers mean."""

from __future__ import annotations

from typing import Any

from shown_change import KEEPERS, LOCK, WANTED

from change_lock import change_agreed, change_behind, change_done, change_lock


def line(seq: int, term: int, text: str = "") -> dict[str, Any]:
    return {"seq": seq, "term": term, "hash": f"{seq}-{term}-{text}", "id": str(term)}


def copy(name: str, lines: list[dict[str, Any]], lock: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    head = {key: lines[-1][key] for key in ("seq", "hash", "term")} if lines else {"seq": 0, "hash": "0", "term": 0}
    return {"item": {"name": name}, "head": head, "lines": lines, "problem": "", "lock": lock or {}, "latest": {}, "closed": [], **more}


SILENT = {"item": {"name": "db3"}, "ok": False, "why": "no answer", "msg": "no route"}


def test_free() -> None:
    opening = change_lock([copy(name, [line(1, 3)]) for name in ("db1", "db2", "db3")], KEEPERS, WANTED)
    assert (opening["refusal"], opening["term"], opening["id"], opening["warnings"]) == ("", 4, "new", [])


def test_one_lock_is_enough_to_refuse() -> None:
    opening = change_lock([copy("db1", []), copy("db2", [], LOCK), SILENT], KEEPERS, WANTED)
    assert opening["refusal"].startswith("under way is wave wave 3, started by amina from ops1 at 2027-01-04T08:00:00Z (pilot). Held on db2.")
    assert opening["warnings"] == ["keeper db3 does not answer"]


def test_a_lock_of_an_ended_change_is_none() -> None:
    opening = change_lock([copy("db1", [], closed=["old"]), copy("db2", [], LOCK), SILENT], KEEPERS, WANTED)
    assert (opening["refusal"], opening["over"], opening["term"]) == ("", ["old"], 5)


def test_resume_takes_the_same_kind_and_subject_only() -> None:
    looks = [copy(name, [], LOCK) for name in ("db1", "db2", "db3")]
    assert change_lock(looks, KEEPERS, WANTED | {"resume": True})["refusal"]
    opening = change_lock(looks, KEEPERS, {"id": "new", "kind": "wave", "subject": "wave 3", "resume": True, "break": False})
    assert (opening["refusal"], opening["id"], opening["resumed"], opening["broken"]) == ("", "old", True, {})


def test_break_names_what_it_breaks() -> None:
    opening = change_lock([copy(name, [], LOCK) for name in ("db1", "db2", "db3")], KEEPERS, WANTED | {"break": True})
    assert (opening["refusal"], opening["id"], opening["broken"]) == ("", "new", LOCK)


def test_one_keeper_of_three_decides_nothing() -> None:
    damaged = copy("db2", [], problem="line 3 was changed after it was written")
    opening = change_lock([copy("db1", []), damaged, SILENT], KEEPERS, WANTED | {"break": True})
    assert "1 of 3 keepers have a whole record, 2 are needed (db1: whole; db2: line 3 was changed" in opening["refusal"]
    assert change_agreed([copy("db1", []), damaged, SILENT], KEEPERS)["problem"]
    assert not change_done([{"ok": True}, {"ok": False}, SILENT], KEEPERS)


def test_the_majority_decides_what_the_record_is() -> None:
    common = [line(1, 1)]
    rewritten = copy("db1", [line(1, 9, "rewritten"), line(2, 9), line(3, 9)])
    right = copy("db2", [*common, line(2, 2)])
    agreed = change_agreed([rewritten, right, copy("db3", [*common, line(2, 2)])], KEEPERS)
    assert agreed["lines"] == right["lines"]
    assert change_behind([rewritten, right], agreed["head"]) == ["db1"]


def test_of_two_the_later_change_is_right() -> None:
    cut_off, later = [line(1, 1), line(2, 1), line(3, 1)], [line(1, 1), line(2, 2)]
    assert change_agreed([copy("db1", cut_off), copy("db2", later), SILENT], KEEPERS)["lines"] == later


def test_the_longer_copy_is_right_when_nothing_contradicts_it() -> None:
    lines = [line(1, 1), line(2, 1)]
    assert change_agreed([copy("db1", lines[:1]), copy("db2", lines), copy("db3", [])], KEEPERS)["lines"] == lines
