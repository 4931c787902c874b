"""A play with `connection: local` runs here what it delegates to a host: it may include no role, since roles delegate (the lock, to its keepers)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", sorted((PROJECT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_local_play_includes_no_role(path: Path) -> None:
    local = [play for play in yaml.safe_load(path.read_text()) if play.get("connection") == "local"]
    roles = [task["name"] for play in local for task in play["tasks"] if any(key.endswith(("import_role", "include_role")) for key in task)]
    assert roles == []
