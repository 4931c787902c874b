"""One-time passwords, and the file that carries them: they never meet a log or a terminal."""

from __future__ import annotations

import csv
import fcntl
import os
import secrets
import tempfile
from pathlib import Path

# Without the characters that people mistake for each other; 16 of 31 are 79 bits.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
GROUPS, GROUP_LENGTH = 4, 4
FIELDS = ("organisation", "username", "email", "password")


def one_time_password() -> str:
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))


def write_passwords(path: Path, rows: list[dict[str, str]]) -> None:
    """Add the rows to the file, or replace those of the same user; readable by its owner only.

    Called before the accounts are committed: a password in the file without an account is harmless
    and replaced by the next run, an account without its password would be lost.
    """
    # Held until it is closed: a second run that adds to the same file waits.
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _merge(path, rows)


def _merge(path: Path, rows: list[dict[str, str]]) -> None:
    known: dict[str, dict[str, str]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            known = {row["username"]: row for row in csv.DictReader(stream)}
    known |= {row["username"]: row for row in rows}
    # mkstemp makes the file with mode 0600; there is no moment at which others could read it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, FIELDS)
            writer.writeheader()
            writer.writerows(known[username] for username in sorted(known))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
