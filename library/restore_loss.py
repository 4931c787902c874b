#!/usr/bin/python
"""What a database that goes back in time would lose, counted in the WAL that is still on the host."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: restore_loss
short_description: What a database that goes back in time would lose
description:
  - Counts the transactions after a moment in the WAL segments that the host still has, and their bytes. Reads only; works with a stopped server too.
  - Older segments are in the archive only. Where the WAL of the host does not reach back to the moment, the count is a lower bound, and says so.
options:
  data:
    description: Data directory of PostgreSQL.
    type: path
    required: true
  binaries:
    description: Directory of PostgreSQL's programs.
    type: path
    required: true
  since:
    description: Moment to go back to, in seconds since 1970.
    type: float
    required: true
"""

EXAMPLES = r"""
- restore_loss: {data: /var/lib/postgresql/17/obcms, binaries: /usr/lib/postgresql/17/bin, since: 1769824800.0}
"""

RETURN = r"""
transactions: {description: Transactions after the moment., type: int, returned: always}
whole: {description: Whether the host has all WAL since the moment., type: bool, returned: always}
wal_bytes: {description: WAL written since the moment., type: int, returned: always}
data_bytes: {description: Size of the data directory without WAL., type: int, returned: always}
free_bytes: {description: Room beside the data directory., type: int, returned: always}
timeline: {description: Timeline of the data., type: int, returned: always}
words: {description: The same for people., type: str, returned: always}
"""

SEGMENT = re.compile(r"[0-9A-F]{24}")
COMMIT = re.compile(r"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
# Each takes about a tenth of a second to read.
MOST_SEGMENTS = 256


def control(binaries: str, data: str) -> dict[str, str]:
    """What pg_controldata says."""
    output = subprocess.run([f"{binaries}/pg_controldata", data], capture_output=True, text=True, check=True, env={"LC_ALL": "C", "TZ": "UTC"}).stdout
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in output.splitlines())}


def segments(wal: Path, since: float) -> list[Path]:
    """Segments that were written to after the moment, oldest first; segments made ready for later are older than that."""
    found = [path for path in wal.iterdir() if SEGMENT.fullmatch(path.name) and path.stat().st_mtime >= since]
    return sorted(found, key=lambda path: path.name)[-MOST_SEGMENTS:]


def commits(binaries: str, path: Path) -> Iterator[float]:
    """Times of the transactions in one segment."""
    command = [f"{binaries}/pg_waldump", "--rmgr=Transaction", str(path)]
    # The end of what was written so far looks like an error to it.
    return times(subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "TZ": "UTC"}).stdout)


def times(output: str) -> Iterator[float]:
    """Times of the transactions that pg_waldump shows."""
    for match in COMMIT.finditer(output):
        yield datetime.datetime.fromisoformat(match[1].ljust(26, "0") + "+00:00").timestamp()


def measure(data: str, binaries: str, since: float) -> dict[str, Any]:
    """See RETURN."""
    wal = Path(data) / "pg_wal"
    recent = segments(wal, since)
    before = [path for path in wal.iterdir() if SEGMENT.fullmatch(path.name) and path.stat().st_mtime < since]
    older = not recent or any(path.name < recent[0].name for path in before)
    size = sum(entry.stat().st_size for folder, _, names in os.walk(data) if "/pg_wal" not in folder for entry in stats(folder, names))
    room = os.statvfs(data)
    found: dict[str, Any] = {
        "transactions": sum(1 for path in recent for moment in commits(binaries, path) if moment > since),
        "whole": older and len(recent) < MOST_SEGMENTS,
        "wal_bytes": sum(path.stat().st_size for path in recent),
        "data_bytes": size,
        "free_bytes": room.f_bavail * room.f_frsize,
        "timeline": int(control(binaries, data)["Latest checkpoint's TimeLineID"]),
    }
    least = "" if found["whole"] else "at least "
    words = f"{least}{found['transactions']} transactions, {least}{found['wal_bytes'] / 2**20:.0f} MB of WAL"
    return {**found, "words": f"Counted on this host: {words} after that moment."}


def stats(folder: str, names: list[str]) -> Iterator[Path]:
    """Files that are still there; the server removes some while they are counted."""
    for name in names:
        path = Path(folder) / name
        if path.exists():
            yield path


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    types = {"data": "path", "binaries": "path", "since": "float"}
    arguments = {name: {"type": kind, "required": True} for name, kind in types.items()}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    try:
        found = measure(module.params["data"], module.params["binaries"], module.params["since"])
    except (OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
        module.fail_json(msg=f"restore_loss: {module.params['data']} cannot be measured: {error}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
