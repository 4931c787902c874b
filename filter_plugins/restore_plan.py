"""Filter restore_plan: from what a person asks for to what pgBackRest is told; every reason not to, before anything changes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DOCUMENTATION = r"""
name: restore_plan
short_description: Where the database goes back to
description:
  - Takes a point in time with its zone, a restore point, a wave (its newest restore point) or the label of a backup. Gives the backup to start from,
    the arguments of pgBackRest, and the moment that the database goes back to; or C(problem), one sentence with the way out.
  - "A database that went back before has left a branch of history behind: what was written between the moment it went back to and the moment it did.
    The plan knows these branches and takes the timeline, and only backups, that lead to the moment asked for."
positional: _input, backups, points, history, now
options:
  _input:
    description: C(target) or C(label), and C(repository) (1, or 2 for the off-site one).
    type: dict
    required: true
  backups: {description: What C(pgbackrest info --output=json) says of the stanza., type: list, required: true}
  points: {description: Lines of the records in which restore points are named., type: list, elements: str, required: true}
  history: {description: 'Earlier restores, each C({target_at, done_at, timeline}) in seconds since 1970.', type: list, required: true}
  now: {description: Seconds since 1970., type: float, required: true}
"""

EXAMPLES = r"""
- vars:
    asked: {target: "2026-01-31 10:15:00+08", repository: 1}
  ansible.builtin.debug:
    msg: "{{ asked | restore_plan(info, [], [], now(utc=true).timestamp()) }}"
"""

RETURN = r"""
_value:
  description: C(problem), or C(arguments), C(set), C(at), C(kind), C(name), C(timeline) and C(words).
  type: dict
"""

MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?")
POINT = re.compile(r"before-wave-(\d+)-(\d{8}T\d{6}Z)")
WAVE = re.compile(r"wave-(\d+)")
SHOWN = 5


@dataclass(frozen=True)
class Backup:
    """One backup that can be restored."""

    name: str
    note: str | None
    stop: float


class Refused(Exception):
    """Why not, in a sentence."""


def restore_plan(
    asked: Mapping[str, Any],
    backups: Sequence[Mapping[str, Any]],
    points: Sequence[str],
    history: Sequence[Mapping[str, float]],
    now: float,
) -> dict[str, Any]:
    """See DOCUMENTATION."""
    target, label = str(asked.get("target") or "").strip(), str(asked.get("label") or "").strip()
    try:
        if bool(target) == bool(label):
            raise Refused("name one of -e target=... (a time like '2026-01-31 10:15:00+08', a restore point, or wave-N) and -e label=... (a backup)")
        usable = _usable(backups, int(asked.get("repository") or 1))
        plan = _by_label(label, usable) if label else _by_target(target, usable, points, history, now)
    except Refused as refusal:
        return {"problem": f"restore: {refusal}. Nothing was changed"}
    lost = now - plan["at"]
    plan["words"] = f"{plan['name']}: the database as it was at {show(plan['at'])}, {_span(lost)} ago, from backup {plan['set']}"
    return {"problem": "", "lost_seconds": round(lost), **plan}


def show(at: float) -> str:
    """A moment for people, in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(days or hours) + [f"{minutes} min"]
    return " ".join([*parts, f"{rest} s"] if not days else parts)


def _usable(stanzas: Sequence[Mapping[str, Any]], repository: int) -> list[Backup]:
    if not stanzas:
        raise Refused("pgBackRest knows no cluster of this name; look with: obcms-backup list, on the backup host")
    found = [
        Backup(entry["label"], (entry.get("annotation") or {}).get("label"), float(entry["timestamp"]["stop"]))
        for stanza in stanzas
        for entry in stanza.get("backup", ())
        if entry["database"].get("repo-key", 1) == repository
    ]
    if not found:
        words = stanzas[0].get("status", {}).get("message", "no message")
        raise Refused(f"repository {repository} holds no backup (pgBackRest says: {words}); -e repository=2 is the off-site one")
    return sorted(found, key=lambda backup: backup.stop)


def _by_label(label: str, usable: Sequence[Backup]) -> dict[str, Any]:
    named = [backup for backup in usable if label in (backup.name, backup.note)]
    if not named:
        known = ", ".join(f"{b.name}{f' ({b.note})' if b.note else ''}" for b in usable[-SHOWN:])
        raise Refused(f"there is no backup with the label {label!r}; the newest are {known}")
    if len(named) > 1:
        raise Refused(f"the label {label!r} is on {len(named)} backups; name one of {', '.join(b.name for b in named[-SHOWN:])}")
    backup = named[0]
    arguments = [f"--set={backup.name}", "--type=immediate", "--target-action=pause"]
    return {"kind": "label", "name": f"backup {label}", "at": backup.stop, "set": backup.name, "timeline": "", "arguments": arguments}


def _by_target(target: str, usable: Sequence[Backup], points: Sequence[str], history: Sequence[Mapping[str, float]], now: float) -> dict[str, Any]:
    known = _points(points)
    wave = WAVE.fullmatch(target)
    if wave:
        of_wave = [name for name in known if int(POINT.fullmatch(name)[1]) == int(wave[1])]  # type: ignore[index]
        if not of_wave:
            raise Refused(f"wave {wave[1]} has no restore point on record; {_known(known)}")
        target = of_wave[-1]
    moment = MOMENT.fullmatch(target)
    if target in known:
        at, kind = known[target], "name"
    elif moment:
        at, kind = _moment(target, moment), "time"
    else:
        raise Refused(f"{target!r} is neither a time like '2026-01-31 10:15:00+08' nor a restore point on record; {_known(known)}")
    if at > now:
        raise Refused(f"{show(at)} is in the future: here it is {show(now)}. Look at the time zone of the target")
    earliest = usable[0]
    if at < earliest.stop:
        raise Refused(f"{show(at)} is before the oldest backup, which ended at {show(earliest.stop)}; that is as far back as it goes")
    timeline = _timeline(at, history)
    leading = [backup for backup in usable if backup.stop <= at and _on_path(backup.stop, at, history)]
    if not leading:
        raise Refused(f"no backup leads to {show(at)}: all that are old enough belong to a branch of history that an earlier restore left")
    value = _utc(at) if kind == "time" else target
    arguments = [f"--set={leading[-1].name}", f"--type={kind}", f"--target={value}", "--target-action=pause"]
    arguments += [f"--target-timeline={timeline}"] if timeline else []
    return {"kind": kind, "name": target, "at": at, "set": leading[-1].name, "timeline": timeline, "arguments": arguments}


def _points(lines: Sequence[str]) -> dict[str, float]:
    """Restore points in the records, oldest first; their names carry the second in which they were made."""
    found = {}
    for line in lines:
        for match in POINT.finditer(line):
            made = datetime.datetime.strptime(match[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
            found[match[0]] = made.timestamp()
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _known(points: Mapping[str, float]) -> str:
    return f"known are {', '.join(list(points)[-SHOWN:])}" if points else "none is known"


def _moment(target: str, match: re.Match[str]) -> float:
    if not match[3]:
        raise Refused(f"{target!r} has no time zone; add it, like {target}+08")
    try:
        return datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3]}").timestamp()
    except ValueError as error:
        raise Refused(f"{target!r} is no time: {error}") from error


def _utc(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def _timeline(at: float, history: Sequence[Mapping[str, float]]) -> str:
    """The timeline that was left while `at` was on it; empty while it belongs to the present one."""
    for restore in sorted(history, key=lambda entry: entry["done_at"]):
        if restore["target_at"] < at < restore["done_at"]:
            return str(int(restore["timeline"]))
    return ""


def _on_path(past: float, at: float, history: Sequence[Mapping[str, float]]) -> bool:
    """Whether what was written at `past` is part of the database as it was at `at`."""
    end = at
    for restore in sorted(history, key=lambda entry: -entry["done_at"]):
        if restore["done_at"] > end:
            continue
        if past >= restore["done_at"]:
            return True
        end = min(end, restore["target_at"])
        if past > end:
            return False
    return past <= end


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"restore_plan": restore_plan}
