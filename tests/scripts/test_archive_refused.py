"""A segment that the repository has with another content passes only where the server's own history does not need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/pgbackrest/files/archive-refused"
# Timeline 8 ended at the border of two segments, timeline 9 in the middle of one; the server is on timeline 10.
HISTORY = (
    "7\t0/B1004250\tno recovery target specified\n\n8\t0/B4000000\tno recovery target specified\n\n9\t1/B70002A0\tno recovery target specified\n"
)


def asked(wal: Path, name: str, status: int = 45) -> int:
    (wal / name).touch()
    return subprocess.run([sys.executable, PROGRAM, str(status), str(wal / name)], capture_output=True, check=False).returncode


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    (tmp_path / "00000008.history").write_text("7\t0/B1004250\tno recovery target specified\n")
    (tmp_path / "0000000A.history").write_text(HISTORY)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("0000000800000000000000B3", False),
        ("0000000800000000000000B4", True),
        ("0000000800000000000000B5", True),
        ("000000080000000100000000", True),
        ("0000000900000001000000B6", False),
        ("0000000900000001000000B7", True),
        ("0000000900000000000000FF", False),
        ("0000000900000001000000B7.partial", True),
        ("0000000A00000001000000B7", False),
        ("0000000B00000001000000B8", False),
        ("0000000700000000000000B1", True),
        ("0000000700000000000000B0", False),
        ("0000000A.history", False),
        ("0000000800000000000000B4.00000028.backup", False),
    ],
)
def test_only_what_the_history_does_not_need_passes(wal: Path, name: str, passes: bool) -> None:
    assert asked(wal, name) == (0 if passes else 45)


def test_every_other_reason_stays(wal: Path) -> None:
    assert [asked(wal, "0000000800000000000000B4", status) for status in (1, 44, 82, 103)] == [1, 44, 82, 103]


def test_a_server_without_a_history_needs_everything(tmp_path: Path) -> None:
    assert asked(tmp_path, "000000010000000000000001") == 45


def test_postgresql_sees_the_answer(wal: Path) -> None:
    """As in archive_command: the status of the first program is what the second one is given."""
    (wal / "0000000800000000000000B4").touch()
    command = f"sh -c 'exit 45' || {sys.executable} {PROGRAM} $? {wal}/0000000800000000000000B4"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert subprocess.run(["sh", "-c", command.replace("exit 45", "exit 82")], check=False).returncode == 82
