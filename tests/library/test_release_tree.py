"""Releases on a host: whole or not at all, switched in one step, pruned without touching what runs."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import release_tree


def params(tmp_path: Path, **more: Any) -> dict[str, Any]:
    root, state = tmp_path / "opt", tmp_path / "var"
    (root / "releases").mkdir(parents=True, exist_ok=True)
    (root / "archives").mkdir(exist_ok=True)
    state.mkdir(exist_ok=True)
    return {"root": str(root), "state": str(state), "units": [], "keep": 5, "spare": [], **more}


def archive(tmp_path: Path, version: str) -> dict[str, str]:
    path = tmp_path / f"{version}.tar.gz"
    if not path.exists():
        with tarfile.open(path, "w:gz") as tar:
            content = version.encode()
            member = tarfile.TarInfo("./css/VERSION")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return {"version": version, "archive": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def installed(tmp_path: Path, *versions: str) -> None:
    for version in versions:
        release_tree.unpack(params(tmp_path, **archive(tmp_path, version)), False)


def test_a_release_is_unpacked_once(tmp_path: Path) -> None:
    given = params(tmp_path, **archive(tmp_path, "1.0.0"))
    assert release_tree.unpack(given, True) == {"changed": True}
    assert release_tree.survey(given, False)["versions"] == []
    assert release_tree.unpack(given, False) == {"changed": True}
    assert release_tree.unpack(given, False) == {"changed": False}
    assert release_tree.survey(given, False)["versions"] == ["1.0.0"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, honest: bool) -> None:
    given = params(tmp_path, **archive(tmp_path, "1.0.0"))
    Path(given["archive"]).write_bytes(b"cut off")
    if honest:
        given["sha256"] = hashlib.sha256(b"cut off").hexdigest()
    with pytest.raises(tarfile.TarError if honest else release_tree.ReleaseError):
        release_tree.unpack(given, False)
    assert list((tmp_path / "opt/releases").iterdir()) == []


def test_a_version_stands_for_the_same_bytes(tmp_path: Path) -> None:
    installed(tmp_path, "1.0.0")
    with pytest.raises(release_tree.ReleaseError, match="new version"):
        release_tree.unpack(params(tmp_path, **{**archive(tmp_path, "1.0.0"), "sha256": "0" * 64}), False)


@pytest.mark.parametrize("version", ["", "../etc", "a b", "-rf", ".hidden", "x" * 65])
def test_a_version_is_no_path(tmp_path: Path, version: str) -> None:
    with pytest.raises(release_tree.ReleaseError, match="is no version"):
        release_tree.activate(params(tmp_path, version=version), False)


def test_the_link_moves_only_to_a_whole_release(tmp_path: Path) -> None:
    installed(tmp_path, "1.0.0")
    (tmp_path / "opt/releases/1.1.0").mkdir()
    assert release_tree.activate(params(tmp_path, version="1.0.0"), False) == {"changed": True, "before": ""}
    assert not release_tree.activate(params(tmp_path, version="1.0.0"), False)["changed"]
    with pytest.raises(release_tree.ReleaseError, match=r"1\.1\.0 is not on this host; kept are: 1\.0\.0"):
        release_tree.activate(params(tmp_path, version="1.1.0"), False)
    assert release_tree.current_of(tmp_path / "opt") == "1.0.0"


def test_pruning_spares_what_runs_and_what_is_named(tmp_path: Path) -> None:
    installed(tmp_path, *(f"1.{number}" for number in range(8)))
    release_tree.activate(params(tmp_path, version="1.0"), False)
    pruned = release_tree.prune(params(tmp_path, keep=5, spare=["1.1"]), False)
    assert pruned["removed"] == ["1.2", "1.3", "1.4"]
    assert release_tree.survey(params(tmp_path), False)["versions"] == ["1.0", "1.1", "1.5", "1.6", "1.7"]


def test_static_files_of_all_versions_stay(tmp_path: Path) -> None:
    static = tmp_path / "static"
    for version in ("1.0.0", "1.1.0"):
        release_tree.publish(params(tmp_path, **archive(tmp_path, version), directory=str(static)), False)
        (static / "css" / f"of-{version}.css").write_text("kept")
    assert not release_tree.publish(params(tmp_path, **archive(tmp_path, "1.1.0"), directory=str(static)), False)["changed"]
    assert (static / "css/VERSION").read_text() == "1.1.0"
    assert sorted(path.name for path in (static / "css").iterdir()) == ["VERSION", "of-1.0.0.css", "of-1.1.0.css"]
    assert [path.name for path in static.iterdir()] == ["css"]


def test_every_record_carries_the_hash_of_the_one_before(tmp_path: Path) -> None:
    for entry in ({"from": "", "to": "1.0"}, {"from": "1.0", "to": "1.1"}):
        release_tree.record(params(tmp_path, entry=entry), False)
    first, second = (tmp_path / "var/releases.log").read_text().splitlines()
    assert json.loads(first)["previous"] == ""
    assert json.loads(second)["previous"] == hashlib.sha256(first.encode()).hexdigest()
    assert release_tree.previous_of(tmp_path / "var", "1.1") == "1.0"
    assert release_tree.previous_of(tmp_path / "var", "1.0") == ""


def test_a_release_that_was_taken_back_is_not_the_one_before(tmp_path: Path) -> None:
    given = params(tmp_path)
    for entry in (
        {"action": "deploy", "from": "1.0.0", "to": "1.1.0", "result": "done"},
        {"action": "deploy", "from": "1.1.0", "to": "1.2.0", "result": "done"},
        {"action": "take_back", "from": "1.2.0", "to": "1.1.0", "result": "done"},
        {"action": "deploy", "from": "1.1.0", "to": "1.3.0", "result": "failed: ready"},
    ):
        release_tree.record({**given, "entry": entry}, False)
    assert release_tree.previous_of(tmp_path / "var", "1.1.0") == "1.0.0"
    assert release_tree.previous_of(tmp_path / "var", "1.3.0") == ""
    assert release_tree.last_of(tmp_path / "var") == release_tree.survey(given, False)["last"] == "1.1.0"
    assert release_tree.last_of(tmp_path / "elsewhere") == ""


def test_a_second_rollback_does_not_lead_to_the_release_that_the_first_one_left(tmp_path: Path) -> None:
    given = params(tmp_path)
    for entry in (
        {"action": "deploy", "from": "1.2.0", "to": "1.3.0", "result": "done"},
        {"action": "deploy", "from": "1.3.0", "to": "1.4.0", "result": "done"},
        {"action": "rollback", "from": "1.4.0", "to": "1.3.0", "result": "done"},
    ):
        release_tree.record({**given, "entry": entry}, False)
    assert release_tree.previous_of(tmp_path / "var", "1.3.0") == "1.2.0"
    assert release_tree.last_of(tmp_path / "var") == "1.3.0"


def test_what_was_found_out_about_migrations_is_kept(tmp_path: Path) -> None:
    given = params(tmp_path, version="1.1.0", migrations={"work.0003": "DROPPING columns", "work.0004": ""})
    assert release_tree.judged(given, True) == {"changed": True}
    assert release_tree.survey(given, False)["judged"] == {}
    assert release_tree.judged(given, False) == {"changed": True}
    assert release_tree.judged(given, False) == {"changed": False}
    assert release_tree.judged({**given, "version": "1.2.0", "migrations": {"work.0005": ""}}, False) == {"changed": True}
    found = release_tree.survey(given, False)["judged"]
    assert found["work.0003"] == {"version": "1.1.0", "reason": "DROPPING columns"}
    assert set(found) == {"work.0003", "work.0004", "work.0005"}
    (tmp_path / "var" / "migrations.json").write_text("damaged")
    assert release_tree.survey(given, False)["judged"] == {}
