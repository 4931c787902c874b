"""Why a source cannot be packed is told without the credentials that its URL carries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "roles/release/files/pack-source"


@pytest.mark.parametrize("kind", ["git", "archive"])
def test_credentials_of_a_url_are_not_shown(tmp_path: Path, kind: str) -> None:
    command = [str(TOOL), kind, "https://robot:hid@den@127.0.0.1:9/team/obcms.git", "1.4.0", str(tmp_path / "out.tar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "https://127.0.0.1:9/team/obcms.git" in done.stderr.splitlines()[-1]
    assert "robot" not in done.stderr
    assert "hid@den" not in done.stderr
