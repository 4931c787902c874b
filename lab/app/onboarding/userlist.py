"""The list of users an organisation sends: a CSV file, checked as a whole before anything changes."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.models import User

COLUMNS = ("organisation_code", "full_name", "email", "username", "role")
# What people write above the columns, without case and punctuation.
ALIASES = {
    "code": "organisation_code",
    "organisation": "organisation_code",
    "organization": "organisation_code",
    "organization_code": "organisation_code",
    "moa": "organisation_code",
    "name": "full_name",
    "e_mail": "email",
    "user": "username",
    "user_name": "username",
}
MAX_PROBLEMS_SHOWN = 20


class UserListError(Exception):
    """The file cannot be used; the text names each bad line."""


@dataclass(frozen=True)
class UserRow:
    line: int
    organisation_code: str
    full_name: str
    email: str
    username: str
    role: str


def read_user_list(path: Path) -> list[UserRow]:
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = _rows(csv.reader(stream), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserListError(f"{path}: {error}") from error
    problems = [problem for row in rows for problem in _problems(row)]
    for kind, values in (("username", [r.username for r in rows]), ("email", [r.email.lower() for r in rows])):
        problems += [f"{kind} {value} occurs {count} times" for value, count in Counter(values).items() if count > 1]
    if problems:
        shown = problems[:MAX_PROBLEMS_SHOWN]
        more = len(problems) - len(shown)
        raise UserListError(f"{path}: " + "; ".join(shown) + (f"; and {more} more" if more else ""))
    return rows


def _rows(reader: csv._reader, path: Path) -> list[UserRow]:  # type: ignore[name-defined]
    header = [_column(title) for title in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserListError(f"{path}: column {', '.join(missing)} is missing; the columns are {', '.join(COLUMNS)}")
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UserListError(f"{path}: line {reader.line_num} has {len(cells)} columns, the first line has {len(header)}")
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        rows.append(UserRow(line=reader.line_num, **{name: values[name] for name in COLUMNS}))
    return rows


def _column(title: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", title.strip().lower()).strip("_")
    return ALIASES.get(plain, plain)


def _problems(row: UserRow) -> list[str]:
    found = [f"{name} is empty" for name in COLUMNS if not getattr(row, name)]
    if row.role and row.role not in User.IMPORTABLE_ROLES:
        found.append(f"role {row.role!r} is unknown; use {', '.join(User.IMPORTABLE_ROLES)}")
    checks = ((row.email, validate_email, "email"), (row.username, UnicodeUsernameValidator(), "username"))
    for value, check, name in checks:
        try:
            if value:
                check(value)
        except ValidationError:
            found.append(f"{name} {value!r} is not valid")
    return [f"line {row.line}: {problem}" for problem in found]
