#!/usr/bin/python
"""Releases of the application on one host: look, unpack, switch, publish static files, prune, write down."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: release_tree
short_description: Releases of the application on one host
description:
  - C(ROOT/releases/VERSION) holds one release each, C(ROOT/current) is a link to one of them, C(ROOT/archives) holds what they were unpacked from.
  - A release is either there as a whole or not at all. It is unpacked beside its place and moved there, and the link is replaced in one step.
  - Needs Python 3.11 and nothing else.
options:
  action:
    description:
      - C(survey) reports what is there; it changes nothing.
      - C(unpack) unpacks O(archive) as O(version) after comparing it with O(sha256).
      - C(activate) makes C(current) point at O(version).
      - C(publish) adds the files of O(archive) to O(directory); files of other versions stay.
      - C(prune) removes the oldest releases but O(keep), never the current one and never those in O(spare).
      - C(migrated) notes that the migrations of O(version) have run.
      - C(judged) notes what was found out about migrations (O(migrations)) before they run.
      - C(record) appends O(entry) to the log of releases.
    type: str
    required: true
    choices: [survey, unpack, activate, publish, prune, migrated, judged, record]
  root:
    description: Directory of the application.
    type: path
    default: /opt/obcms
  state:
    description: Directory of the log of releases.
    type: path
    default: /var/lib/obcms
  version:
    description: Version to unpack, to activate or to publish.
    type: str
  archive:
    description: Archive on the host, for C(unpack) and C(publish).
    type: path
  sha256:
    description: Hexadecimal SHA-256 of the archive.
    type: str
  directory:
    description: Where C(publish) puts the files.
    type: path
  keep:
    description: Number of releases that C(prune) leaves.
    type: int
    default: 5
  spare:
    description: Versions that C(prune) must leave.
    type: list
    elements: str
    default: []
  units:
    description: Units whose running version C(survey) reports.
    type: list
    elements: str
    default: []
  entry:
    description: What C(record) writes down.
    type: dict
  migrations:
    description: For C(judged), name of each migration to why older code would not survive it, empty where it would.
    type: dict
    default: {}
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Look at the releases of the host
  release_tree:
    action: survey
  register: survey

- name: Switch to the new release
  release_tree:
    action: activate
    version: 1.4.0
"""

RETURN = r"""
current:
  description: Version that C(current) points at, empty where there is none.
  returned: survey
  type: str
previous:
  description: Version that ran before the current one, empty where the log knows none.
  returned: survey
  type: str
last:
  description: Version that ran last on the host by its log, empty where the log knows none.
  returned: survey
  type: str
running:
  description: Version of each of O(units) that runs.
  returned: survey
  type: dict
releases:
  description: Whole releases on the host, oldest first, each with C(version) and C(sha256).
  returned: survey
  type: list
versions:
  description: Versions of C(releases).
  returned: survey
  type: list
migrated:
  description: Versions whose migrations have run.
  returned: survey
  type: list
judged:
  description: Name of each migration that was judged to the version that brought it and to the reason why older code would not survive it.
  returned: survey
  type: dict
published:
  description: Versions whose static files are published.
  returned: survey
  type: list
removed:
  description: Versions that were removed.
  returned: prune
  type: list
"""

# A version becomes a directory name and part of commands.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
SEAL = ".archive.sha256"
# Actions in the log of releases that took something back.
WAYS_BACK = ("take_back", "rollback")


class ReleaseError(RuntimeError):
    """What is wrong, in words for the operator."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checked_version(params: dict[str, Any]) -> str:
    version = str(params["version"] or "")
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"version {version!r} is no version: letters, digits and . _ + - only, at most 64")
    return version


def checked_archive(params: dict[str, Any]) -> Path:
    archive = Path(params["archive"])
    if not archive.is_file():
        raise ReleaseError(f"{archive} is not there; deploy ships it")
    found = sha256_of(archive)
    if found != params["sha256"]:
        raise ReleaseError(f"{archive} is damaged: its SHA-256 is {found}, expected {params['sha256']}; remove it and deploy again")
    return archive


def releases_of(root: Path) -> list[dict[str, str]]:
    """Whole releases, oldest first. What a cut-off build left behind has no seal."""
    seals = [path / SEAL for path in (root / "releases").glob("*") if (path / SEAL).is_file()]
    seals.sort(key=lambda seal: seal.stat().st_mtime_ns)
    return [{"version": seal.parent.name, "sha256": seal.read_text().strip()} for seal in seals]


def current_of(root: Path) -> str:
    link = root / "current"
    return Path(os.readlink(link)).name if link.is_symlink() else ""


def lines_of(path: Path) -> list[str]:
    return path.read_text().split() if path.is_file() else []


def previous_of(state: Path, current: str) -> str:
    """What ran before the current version, by the log of releases."""
    log = state / "releases.log"
    for line in reversed(log.read_text().splitlines() if log.is_file() else []):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            # Whatever a way back left is what people wanted to be rid of; going back once more must not lead there again.
            if entry.get("action") in WAYS_BACK or entry.get("result", "done") != "done":
                continue
            if entry.get("to") == current and entry.get("from") not in ("", None, current):
                return str(entry["from"])
    return ""


def last_of(state: Path) -> str:
    """What ran last on the host, by the log of releases; the log comes back with the files of a host that was lost."""
    log = state / "releases.log"
    for line in reversed(log.read_text().splitlines() if log.is_file() else []):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("result", "done") == "done" and entry.get("to"):
                return str(entry["to"])
    return ""


def judged_of(state: Path) -> dict[str, dict[str, str]]:
    """What is known about migrations; what cannot be read is not known."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((state / "migrations.json").read_text())
        if isinstance(found, dict):
            return found
    return {}


def running_of(root: Path, units: list[str]) -> dict[str, str]:
    """Version that the main process of each unit was started in; empty where it does not run."""
    found = {}
    for unit in units:
        shown = subprocess.run(["systemctl", "show", "--property=MainPID", "--value", unit], capture_output=True, text=True, check=False)
        place = Path("/proc", shown.stdout.strip() or "0", "cwd")
        with contextlib.suppress(OSError):
            parent, _, name = os.readlink(place).rpartition("/")
            if Path(parent) == root / "releases":
                found[unit] = name
    return found


def survey(params: dict[str, Any], check: bool) -> dict[str, Any]:
    root, state = Path(params["root"]), Path(params["state"])
    releases = releases_of(root)
    return {
        "changed": False,
        "current": current_of(root),
        "previous": previous_of(state, current_of(root)),
        "last": last_of(state),
        "running": running_of(root, params["units"]),
        "releases": releases,
        "versions": [item["version"] for item in releases],
        "migrated": lines_of(state / "migrated"),
        "judged": judged_of(state),
        "published": lines_of(state / "published"),
    }


def extract(archive: Path, place: Path) -> None:
    with tarfile.open(archive) as tar:
        # A venv's link to /usr/bin/python3 needs more than the data filter allows; the archive is ours and its checksum was compared.
        # Debian 12's first Python 3.11 has no filters: there the attribute is without effect.
        tar.extraction_filter = getattr(tarfile, "tar_filter", None)
        tar.extractall(place)


def unpack(params: dict[str, Any], check: bool) -> dict[str, Any]:
    root, version = Path(params["root"]), checked_version(params)
    place = root / "releases" / version
    seal = place / SEAL
    if seal.is_file():
        found = seal.read_text().strip()
        if found == params["sha256"]:
            return {"changed": False}
        raise ReleaseError(
            f"release {version} is here already with other bytes ({found[:12]}, offered {params['sha256'][:12]}); give the new build a new version"
        )
    if check:
        return {"changed": True}
    archive = checked_archive(params)
    beside = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=root / "releases"))
    try:
        extract(archive, beside)
        beside.chmod(0o755)
        (beside / SEAL).write_text(params["sha256"] + "\n")
        if place.exists():
            shutil.rmtree(place)
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return {"changed": True}


def activate(params: dict[str, Any], check: bool) -> dict[str, Any]:
    root, version = Path(params["root"]), checked_version(params)
    before = current_of(root)
    if before == version:
        return {"changed": False, "before": before}
    if not (root / "releases" / version / SEAL).is_file():
        kept = ", ".join(item["version"] for item in releases_of(root)) or "none"
        raise ReleaseError(f"release {version} is not on this host; kept are: {kept}")
    if not check:
        beside = root / ".current.new"
        beside.unlink(missing_ok=True)
        beside.symlink_to(f"releases/{version}")
        beside.replace(root / "current")
    return {"changed": True, "before": before}


def publish(params: dict[str, Any], check: bool) -> dict[str, Any]:
    state, directory, version = Path(params["state"]), Path(params["directory"]), checked_version(params)
    done = lines_of(state / "published")
    if version in done:
        return {"changed": False}
    if check:
        return {"changed": True}
    archive = checked_archive(params)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming.", dir=directory) as incoming:
        extract(archive, Path(incoming))
        for source in sorted(Path(incoming).rglob("*")):
            target = directory / source.relative_to(incoming)
            if source.is_dir():
                target.mkdir(mode=0o755, exist_ok=True)
            else:
                # A client never sees half a file.
                source.replace(target)
    replace_text(state / "published", "".join(f"{line}\n" for line in [*done, version]))
    return {"changed": True}


def prune(params: dict[str, Any], check: bool) -> dict[str, Any]:
    root = Path(params["root"])
    versions = [item["version"] for item in releases_of(root)]
    stay = {current_of(root), *params["spare"]}
    surplus = len(versions) - int(params["keep"])
    doomed = [version for version in versions if version not in stay][: max(surplus, 0)]
    if not check:
        for version in doomed:
            shutil.rmtree(root / "releases" / version)
            for archive in (root / "archives").glob(f"{version}.*"):
                with contextlib.suppress(FileNotFoundError):
                    archive.unlink()
    return {"changed": bool(doomed), "removed": doomed}


def migrated(params: dict[str, Any], check: bool) -> dict[str, Any]:
    path, version = Path(params["state"]) / "migrated", checked_version(params)
    done = lines_of(path)
    if version in done:
        return {"changed": False}
    if not check:
        replace_text(path, "".join(f"{line}\n" for line in [*done, version]))
    return {"changed": True}


def judged(params: dict[str, Any], check: bool) -> dict[str, Any]:
    state, version = Path(params["state"]), checked_version(params)
    known = judged_of(state)
    news = {name: {"version": version, "reason": str(reason)} for name, reason in params["migrations"].items()}
    if all(known.get(name) == value for name, value in news.items()):
        return {"changed": False}
    if not check:
        replace_text(state / "migrations.json", json.dumps({**known, **news}, indent=1, sort_keys=True) + "\n")
    return {"changed": True}


def record(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Every line carries the hash of the one before it, so that a line changed or taken out later shows."""
    log = Path(params["state"]) / "releases.log"
    before = log.read_bytes().splitlines() if log.is_file() else []
    previous = hashlib.sha256(before[-1]).hexdigest() if before else ""
    line = json.dumps({**params["entry"], "previous": previous}, sort_keys=True)
    if not check:
        with log.open("a") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    return {"changed": True, "line": line}


def replace_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


ACTIONS: dict[str, Callable[[dict[str, Any], bool], dict[str, Any]]] = {
    "survey": survey,
    "unpack": unpack,
    "activate": activate,
    "publish": publish,
    "prune": prune,
    "migrated": migrated,
    "judged": judged,
    "record": record,
}


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": list(ACTIONS)},
            "root": {"type": "path", "default": "/opt/obcms"},
            "state": {"type": "path", "default": "/var/lib/obcms"},
            "version": {"type": "str"},
            "archive": {"type": "path"},
            "sha256": {"type": "str"},
            "directory": {"type": "path"},
            "keep": {"type": "int", "default": 5},
            "spare": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "entry": {"type": "dict"},
            "migrations": {"type": "dict", "default": {}},
        },
        required_if=[
            ("action", "unpack", ["version", "archive", "sha256"]),
            ("action", "activate", ["version"]),
            ("action", "migrated", ["version"]),
            ("action", "judged", ["version"]),
            ("action", "publish", ["version", "archive", "sha256", "directory"]),
            ("action", "record", ["entry"]),
        ],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**ACTIONS[module.params["action"]](module.params, module.check_mode))
    except (ReleaseError, OSError, tarfile.TarError, EOFError) as error:
        module.fail_json(msg=f"release_tree: {module.params['action']}: {error}")


if __name__ == "__main__":
    main()
