"""Filters of the rollout's plan: `rollout_plan` reads and validates it, `rollout_choice` picks MOAs, `rollout_users` reads a wave's list of users."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

DOCUMENTATION = r"""
name: rollout_plan
short_description: The plan of the rollout, validated as a whole
description:
  - Reads C(moas.csv) (code, name, type, wave, users, and modules where wanted, with blanks between) and the calendar C(waves.csv) (wave, start,
    days, coordinator, soak_minutes), and reports every mistake of both at once. Lines that begin with C(#) are remarks.
  - A calendar with the remark C(# example dates) is one that nobody has agreed to yet; the gate C(calendar) stays closed until it is gone.
  - C(rollout_choice) in the same file picks the MOAs of a wave; C(rollout_users) reads the list of users of a wave.
positional: _input, calendar
options:
  _input:
    description: Text of moas.csv.
    type: str
    required: true
  calendar:
    description: Text of waves.csv; empty where there is none.
    type: str
    default: ""
  hosts:
    description: Number of application hosts; 0 means that the number of users is not limited.
    type: int
    default: 0
  users_per_host:
    description: Users that one application host carries.
    type: int
    default: 275
"""

EXAMPLES = r"""
- vars:
    plan: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/moas.csv') | rollout_plan(hosts=4) }}"
  ansible.builtin.debug:
    msg: "{{ plan | rollout_choice(wave=1) | map(attribute='code') }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    moas: {description: "code, name, type, wave, users and modules of every MOA, in the order of the waves.", type: list, elements: dict}
    waves: {description: "wave, start, end, days, coordinator, soak_minutes, moas (codes) and users of every wave.", type: list, elements: dict}
    users: {description: Planned users of all waves., type: int}
    carries: {description: Users that the fleet carries, 0 where that is not limited., type: int}
    example: {description: Whether the calendar says of itself that its dates are examples., type: bool}
"""

WHO = "rollout_plan"
MOA_COLUMNS = ("code", "name", "type", "wave", "users")
WAVE_COLUMNS = ("wave", "start", "days", "coordinator", "soak_minutes")
USER_COLUMNS = ("organisation_code", "full_name", "email", "username", "role")
TYPES = ("ministry", "office", "agency", "commission", "special")
ROLES = ("admin", "staff", "viewer")
# The application's own rule: a code is part of names of accounts, of metrics and of commands.
CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{0,19}")
MODULE = re.compile(r"[a-z][a-z0-9_-]*")
EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")
# What the application takes as well (Django's rule for names; its rule for addresses is ASCII).
USERNAME = re.compile(r"[\w.@+-]{1,150}")
# How Ansible reads a byte that is no UTF-8.
NO_UTF8 = re.compile("[\ud800-\udfff]")
EXAMPLE = re.compile(r"#\s*example dates\b", re.IGNORECASE)
# facts, section 1: nine waves of two weeks each.
DAYS = 14
# facts, section 1: four application servers carry up to 1,100 users.
USERS_PER_HOST = 275


class PlanError(ValueError):
    """What is wrong with the plan, and how to mend it."""


@dataclass(frozen=True)
class Moa:
    """One organisation of the plan."""

    code: str
    name: str
    type: str
    wave: int
    users: int
    modules: str


@dataclass
class Wave:
    """One wave: from the calendar, and from the MOAs that name it."""

    wave: int
    start: str
    end: str
    days: int
    coordinator: str
    soak_minutes: float | None
    moas: list[str]
    users: int


def _rows(who: str, text: str, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row that is not empty."""
    # Remarks become empty lines, so that the numbers of lines stay those of the file.
    remarked = "".join("\n" if line.startswith("#") else line for line in text.removeprefix("\ufeff").splitlines(keepends=True))
    reader = csv.reader(io.StringIO(remarked, newline=None))
    header = [cell.strip() for cell in next((cells for cells in reader if cells), [])]
    missing = [name for name in columns if name not in header]
    if missing:
        raise PlanError(
            f"{who}: column {', '.join(missing)} is missing, found {', '.join(header) or 'an empty file'}; the columns are {', '.join(columns)}"
        )
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise PlanError(
                f"{who}: line {reader.line_num} has {len(cells)} columns, the first line has {len(header)}; put names with commas in quotes"
            )
        rows.append((reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    return rows


def _number(value: str, least: int = 1) -> int | None:
    return int(value) if value.isdecimal() and int(value) >= least else None


def _modules(row: Mapping[str, str]) -> str:
    """Modules as the application's command reads them: with commas, and without in the file, whose columns commas part."""
    return ",".join(row.get("modules", "").split())


def _moa_problems(line: int, row: Mapping[str, str]) -> Iterator[str]:
    if not CODE.fullmatch(row["code"]):
        yield f"moas.csv line {line}: code {row['code']!r} is no code; use up to 20 capital letters, digits and -"
    if not row["name"]:
        yield f"moas.csv line {line}: {row['code']} has no name; add it"
    if wrong := [word for word in row.get("modules", "").split() if not MODULE.fullmatch(word)]:
        yield f"moas.csv line {line}: {', '.join(wrong)} of {row['code']} is no name of a module; use small letters, digits, _, -"
    if row["type"] not in TYPES:
        yield f"moas.csv line {line}: type {row['type']!r} of {row['code']} is unknown; use {', '.join(TYPES)}"
    for name in ("wave", "users"):
        if _number(row[name]) is None:
            yield f"moas.csv line {line}: {name} {row[name]!r} of {row['code']} is no number above 0; correct it"


def _repeated(what: str, values: Iterable[str], fix: str) -> Iterator[str]:
    yield from (f"{what} {value} occurs {count} times; {fix}" for value, count in Counter(values).items() if count > 1)


def _gaps(waves: Iterable[int]) -> Iterator[str]:
    present = set(waves)
    missing = [number for number in range(1, max(present)) if number not in present]
    if missing:
        yield (
            f"moas.csv: wave {', '.join(map(str, missing))} has no MOA, but wave {max(present)} exists; number the waves 1, 2, 3 ... without a gap"
        )


def _is_date(value: str) -> bool:
    """Whether it is a day, written like 2027-01-31: Python takes other forms too, which do not sort as dates."""
    try:
        return datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _calendar_problems(rows: Sequence[tuple[int, Mapping[str, str]]], waves: set[int]) -> Iterator[str]:
    yield from _repeated("waves.csv: wave", [row["wave"] for _, row in rows], "leave one")
    for line, row in rows:
        number = _number(row["wave"])
        if number is None or number not in waves:
            yield f"waves.csv line {line}: wave {row['wave']!r} is in no line of moas.csv; remove it or add its MOAs"
        if not _is_date(row["start"]):
            yield f"waves.csv line {line}: start {row['start']!r} of wave {row['wave']} is no date; write it like 2027-01-31"
        if row["days"] and _number(row["days"]) is None:
            yield f"waves.csv line {line}: days {row['days']!r} of wave {row['wave']} is no number above 0; leave it empty for {DAYS}"
        if row["soak_minutes"] and not re.fullmatch(r"\d+(\.\d+)?", row["soak_minutes"]):
            yield f"waves.csv line {line}: soak_minutes {row['soak_minutes']!r} of wave {row['wave']} is no number; leave it empty for the default"
        if not row["coordinator"]:
            yield f"waves.csv line {line}: wave {row['wave']} has no coordinator; name one"
    present = {_number(row["wave"]) for _, row in rows}
    missing = sorted(waves - {number for number in present if number})
    if missing:
        yield f"waves.csv: wave {', '.join(map(str, missing))} is missing; add a line for it"


def _overlaps(waves: Sequence[Wave]) -> Iterator[str]:
    for before, after in itertools.pairwise(waves):
        if before.end and after.start and after.start <= before.end:
            yield (
                f"waves.csv: wave {after.wave} starts on {after.start}, but wave {before.wave} lasts until {before.end}; "
                f"start it after {before.end} or shorten wave {before.wave}"
            )


def _wave(number: int, moas: Sequence[Moa], row: Mapping[str, str]) -> Wave:
    mine = [moa for moa in moas if moa.wave == number]
    days = int(row.get("days") or DAYS)
    start, end = row.get("start", ""), ""
    if start:
        end = (datetime.date.fromisoformat(start) + datetime.timedelta(days=days - 1)).isoformat()
    soak = row.get("soak_minutes")
    return Wave(
        wave=number,
        start=start,
        end=end,
        days=days,
        coordinator=row.get("coordinator", ""),
        soak_minutes=float(soak) if soak else None,
        moas=[moa.code for moa in mine],
        users=sum(moa.users for moa in mine),
    )


def _refuse(who: str, problems: Sequence[str]) -> None:
    if problems:
        raise PlanError(f"{who}: {len(problems)} mistake{'s' if len(problems) > 1 else ''}\n" + "\n".join(f"  - {problem}" for problem in problems))


def is_example(calendar: str) -> bool:
    """Whether one of its lines is the remark that its dates are examples."""
    return any(EXAMPLE.match(line) for line in calendar.removeprefix("\ufeff").splitlines())


def rollout_plan_problems(moas: str, calendar: str = "", hosts: int | str = 0, users_per_host: int | str = USERS_PER_HOST) -> list[str]:
    """Every mistake of the plan in a list, for preflight; none where the inventory has no plan."""
    try:
        if moas.strip():
            rollout_plan(moas, calendar, hosts, users_per_host)
    except PlanError as error:
        first, *more = str(error).splitlines()
        return [line.removeprefix("  - ") for line in more] or [first]
    return []


def rollout_plan(moas: str, calendar: str = "", hosts: int | str = 0, users_per_host: int | str = USERS_PER_HOST) -> dict[str, Any]:
    """The plan as data; PlanError names every mistake."""
    rows = _rows(f"{WHO}: moas.csv", moas, MOA_COLUMNS)
    if not rows:
        raise PlanError(f"{WHO}: moas.csv names no MOA; copy the plan beside hosts.yml")
    problems = [problem for line, row in rows for problem in _moa_problems(line, row)]
    problems += _repeated("moas.csv: code", [row["code"] for _, row in rows], "leave one")
    problems += _repeated("moas.csv: name", [row["name"] for _, row in rows if row["name"]], "leave one")
    _refuse(WHO, problems)

    planned = [Moa(row["code"], row["name"], row["type"], int(row["wave"]), int(row["users"]), _modules(row)) for _, row in rows]
    planned.sort(key=lambda moa: moa.wave)
    numbers = sorted({moa.wave for moa in planned})
    days = _rows(f"{WHO}: waves.csv", calendar, WAVE_COLUMNS) if calendar.strip() else []
    # A calendar that has lost its lines is no less of one: without dates its gate would not be asked.
    problems = [*_gaps(numbers), *(_calendar_problems(days, set(numbers)) if calendar.strip() else ())]
    _refuse(WHO, problems)

    by_wave = {int(row["wave"]): row for _, row in days}
    waves = [_wave(number, planned, by_wave.get(number, {})) for number in numbers]
    total, carries = sum(moa.users for moa in planned), int(hosts) * int(users_per_host)
    problems = list(_overlaps(waves))
    if 0 < carries < total:
        problems.append(
            f"moas.csv plans {total} users, but {hosts} application hosts x {users_per_host} users = {carries}; "
            "add application hosts, or raise rollout_users_per_host after a load test"
        )
    _refuse(WHO, problems)
    return {
        "moas": [asdict(moa) for moa in planned],
        "waves": [asdict(wave) for wave in waves],
        "users": total,
        "carries": carries,
        "example": is_example(calendar),
    }


def _codes(given: Any) -> list[str]:
    words = given.split(",") if isinstance(given, str) else [str(word) for word in given or ()]
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def rollout_choice(plan: Mapping[str, Any], wave: Any = "", moas: Any = "", one_wave: bool = False) -> list[dict[str, Any]]:
    """The MOAs of a wave, or those of them that are named."""
    known = {moa["code"]: dict(moa) for moa in plan["moas"]}
    numbers = [entry["wave"] for entry in plan["waves"]]
    codes, text = _codes(moas), str(wave).strip()
    if not text and not codes:
        raise PlanError(f"{WHO}: no wave was named; add -e wave=N with N from {numbers[0]} to {numbers[-1]}")
    if text and (_number(text) is None or int(text) not in numbers):
        raise PlanError(f"{WHO}: wave {text!r} is not in moas.csv, which has the waves {numbers[0]} to {numbers[-1]}; correct -e wave=")
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise PlanError(f"{WHO}: {', '.join(unknown)} is not in moas.csv; correct -e moas= or add a line to the plan")
    elsewhere = [f"{code} (wave {known[code]['wave']})" for code in codes if text and known[code]["wave"] != int(text)]
    if elsewhere:
        raise PlanError(f"{WHO}: {', '.join(elsewhere)} does not belong to wave {text}; correct -e moas= or -e wave=")
    chosen = [moa for moa in known.values() if (moa["code"] in codes if codes else moa["wave"] == int(text))]
    if one_wave and len({moa["wave"] for moa in chosen}) > 1:
        raise PlanError(f"{WHO}: {', '.join(codes)} belong to several waves; bring them on board wave by wave, with -e wave=")
    return chosen


def _text_problems(text: str) -> Iterator[str]:
    """What the application would read otherwise than this filter, or not at all; remarks and empty lines are for the plan only."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        if number == 1 and not line.strip():
            yield "line 1 is blank; the columns stand in the first line, remove what is above them"
        if line.startswith("#"):
            yield f"line {number} begins with #; a list of users has no remarks, remove it"
        if NO_UTF8.search(line):
            yield f"line {number} is not UTF-8; save the list as CSV UTF-8"


def _user_problems(line: int, row: Mapping[str, str], codes: Sequence[str], wave: Any) -> Iterator[str]:
    for name in USER_COLUMNS:
        if not row[name]:
            yield f"line {line}: {name} is empty; fill it in"
    if row["organisation_code"] and row["organisation_code"] not in codes:
        yield f"line {line}: {row['organisation_code']} is not in wave {wave}, which has {', '.join(codes)}; move the line to the list of its wave"
    if row["email"] and not EMAIL.fullmatch(row["email"]):
        yield f"line {line}: e-mail {row['email']!r} is no address; correct it"
    elif not row["email"].isascii():
        yield f"line {line}: e-mail {row['email']!r} has letters that mail servers do not take; write it with a-z, digits and signs"
    if row["username"] and not USERNAME.fullmatch(row["username"]):
        yield f"line {line}: username {row['username']!r} is none; use up to 150 letters, digits and @ . + - _, without blanks"
    if row["role"] and row["role"] not in ROLES:
        yield f"line {line}: role {row['role']!r} is unknown; use {', '.join(ROLES)}"


def rollout_users(text: str, plan: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], path: str = "the list of users") -> dict[str, int]:
    """Number of users in the list for each MOA of the wave; PlanError names every mistake of the list.

    Only the chosen MOAs need users: the others' lists may still be on their way.
    """
    wave = chosen[0]["wave"]
    who = f"rollout_users: {path}"
    codes = [moa["code"] for moa in plan["moas"] if moa["wave"] == int(wave)]
    if not text.strip():
        raise PlanError(f"{who} is missing or empty; ask the coordinator of wave {wave} for it (columns {', '.join(USER_COLUMNS)})")
    # First, for the rows of such a text need not be those that the application reads.
    _refuse(who, list(_text_problems(text)))
    rows = _rows(who, text, USER_COLUMNS)
    problems = [problem for line, row in rows for problem in _user_problems(line, row, codes, wave)]
    problems += _repeated("username", [row["username"] for _, row in rows if row["username"]], "usernames are unique on the whole platform")
    problems += _repeated("e-mail", [row["email"].lower() for _, row in rows if row["email"]], "each person has one account")
    counts = Counter(row["organisation_code"] for _, row in rows)
    problems += [
        f"{code} has no user; ask for its list, or leave it out with -e moas=" for code in (moa["code"] for moa in chosen) if not counts[code]
    ]
    _refuse(who, problems)
    return {code: counts[code] for code in codes}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "rollout_plan": rollout_plan,
            "rollout_choice": rollout_choice,
            "rollout_users": rollout_users,
            "rollout_plan_problems": rollout_plan_problems,
        }
