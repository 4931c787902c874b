"""One keeper: its chain, its lock, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import change_record

HOLDER = {"id": "a", "term": 1, "kind": "deploy", "subject": "1.2.0"}


def act(place: Path, action: str, **more: Any) -> dict[str, Any]:
    params = {"directory": str(place), "action": action, "holder": {}, "over": [], "id": "a", "base": {}, "entries": [], "lines": [], "full": True}
    return change_record.act(params | more)


def filled(place: Path, count: int) -> dict[str, Any]:
    act(place, "take", holder=HOLDER)
    return act(place, "append", base=change_record.EMPTY, entries=[{"id": "a", "term": 1, "phase": f"p{n}"} for n in range(count)])


def test_only_the_holder_writes_and_only_at_the_end(tmp_path: Path) -> None:
    assert act(tmp_path, "append", base=change_record.EMPTY, entries=[{"id": "a"}])["why"] == "the lock is free"
    head = filled(tmp_path, 2)["head"]
    assert head["seq"] == 2
    assert act(tmp_path, "append", id="b", base=head, entries=[{"id": "b"}])["why"] == "the lock is held by a"
    assert "missed lines" in act(tmp_path, "append", base=change_record.EMPTY, entries=[{"id": "a"}])["why"]
    assert act(tmp_path, "append", base=head, entries=[{"id": "a", "term": 1}])["head"]["seq"] == 3


def test_the_lock_is_taken_once_broken_by_name_and_given_back_by_its_holder(tmp_path: Path) -> None:
    assert act(tmp_path, "take", holder=HOLDER)["ok"]
    other = HOLDER | {"id": "b", "term": 2}
    refused = act(tmp_path, "take", holder=other)
    assert not refused["ok"]
    assert refused["lock"]["id"] == "a"
    act(tmp_path, "free", id="b")
    assert act(tmp_path, "look")["lock"]["id"] == "a"
    assert act(tmp_path, "take", holder=other, over=["a"])["ok"]
    assert not act(tmp_path, "take", holder=HOLDER, over=["b"])["ok"], "an earlier term must not come back"
    act(tmp_path, "free", id="b")
    assert act(tmp_path, "look")["lock"] == {}


def test_a_lock_that_cannot_be_read_is_held(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    assert not act(tmp_path, "take", holder=HOLDER)["ok"]
    assert act(tmp_path, "take", holder=HOLDER, over=["unreadable"])["ok"]


@given(position=st.integers(0, 5), how=st.sampled_from(["change", "remove", "double"]))
def test_every_damage_is_found_where_it_is(tmp_path_factory: pytest.TempPathFactory, position: int, how: str) -> None:
    place = tmp_path_factory.mktemp("keeper")
    filled(place, 7)
    path = place / "record.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    if how == "change":
        rows[position] = rows[position].replace(f'"p{position}"', '"other"')
    else:
        rows[position : position + 1] = [] if how == "remove" else [rows[position]] * 2
    path.write_text("".join(rows))
    found = act(place, "look")["problem"]
    assert found.startswith(f"line {position + (2 if how == 'double' else 1)} ")
    assert not act(place, "append", base=act(place, "look")["head"], entries=[{"id": "a"}])["ok"]


def test_an_unfinished_line_of_a_crash_is_cut(tmp_path: Path) -> None:
    head = filled(tmp_path, 2)["head"]
    with (tmp_path / "record.jsonl").open("a") as stream:
        stream.write('{"seq": 3, "ph')
    assert act(tmp_path, "look")["head"] == head
    assert act(tmp_path, "append", base=head, entries=[{"id": "a", "term": 1}])["ok"]
    assert [json.loads(row)["seq"] for row in (tmp_path / "record.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_what_the_majority_does_not_have_is_kept_aside(tmp_path: Path) -> None:
    lines = change_record.sealed(change_record.EMPTY, [{"id": "a", "term": 1, "phase": "p0"}, {"id": "c", "term": 2}, {"id": "c", "term": 2}])
    filled(tmp_path, 2)
    assert act(tmp_path, "fill", lines=lines)["head"]["seq"] == 3
    (aside,) = tmp_path.glob("aside-*.jsonl")
    assert [json.loads(row)["phase"] for row in aside.read_text().splitlines()] == ["p1"]
    assert act(tmp_path, "look")["lines"] == lines
