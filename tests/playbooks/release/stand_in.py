"""Stands in for what only a real host has: release-host, obcms-manage and obcms-migrate.  PLACE/trouble.json says what goes wrong where.

trouble: {"web2": "ready"} fails the switch of web2 at that gate, {"probe web2": ...} its probe, {"back web2": ...} its way back,
{"migrate": text} the migration, {"record": host} loses the record when that host changes, {"missing": {...}, "strange": [...]} is what the judge of
migrations finds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

place, tool = Path(sys.argv[1]), sys.argv[2]
trouble = json.loads((place / "trouble.json").read_text()) if (place / "trouble.json").exists() else {}


def note(text: str) -> None:
    with (place / "happened").open("a") as stream:
        stream.write(text + "\n")


def answer(ok: bool, **more: object) -> None:
    print(json.dumps({"ok": ok, "changed": ok, "gate": "", "text": "serves", "log": [], **more}))
    sys.exit(not ok)


if tool == "manage":
    if "check" in sys.argv:
        sys.exit(0)
    print(json.dumps({"linter": "stand-in", "missing": trouble.get("missing", {}), "strange": trouble.get("strange", [])}))
elif tool == "migrate":
    note(f"migrate {os.environ['RELEASE']}")
    if "migrate" in trouble:
        sys.exit(trouble["migrate"])
    print(json.dumps({"applied": list(trouble.get("missing", {}))}))
else:
    given = json.loads(sys.argv[3])
    if given["verb"] == "probe":
        found = trouble.get(f"probe {given['host']}")
        answer(not found, gate=found or "", text=found or "ready", log=["last words"])
    host = given["entry"]["host"]
    found = trouble.get(f"back {host}" if given["entry"]["action"] == "take_back" else host)
    note(f"{given['entry']['action']} {given['tier']} {host} {given['to']}")
    if trouble.get("record") == host:
        for keeper in ("db1", "db2"):
            (place / keeper / "record.jsonl").unlink(missing_ok=True)
    if found:
        answer(False, gate=found, text=f"{found} did not hold", log=["Traceback of the release"])
    link = place / host / "opt" / "current"
    link.unlink()
    link.symlink_to(f"releases/{given['to']}")
    answer(True, opened=time.time())
