#!/usr/bin/env python3
"""Lists of users for the lab: as many as the plan says, always the same ones. Production lists come from the organisations.

python scripts/make_lab_users.py [INVENTORY]
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
COLUMNS = ("organisation_code", "full_name", "email", "username", "role")
FIRST = "Aisha Amir Bai Datu Fatima Hassan Ibrahim Jamilah Khalid Laila Mariam Nasser Omar Rahma Salim Sittie Tarhata Usman Yasmin Zainab".split()
LAST = "Abas Balindong Candao Dimaporo Guro Hataman Iqbal Kusain Lucman Macapaar Mangudadatu Pendatun Sema Sinsuat Tomawis Usop".split()
# Names under .example reach nobody (RFC 2606).
DOMAIN = "lab.example"


def person(code: str, number: int) -> str:
    """A name that depends on nothing but the MOA and the number."""
    digest = hashlib.sha256(f"{code}-{number}".encode()).digest()
    return f"{FIRST[digest[0] % len(FIRST)]} {LAST[digest[1] % len(LAST)]}"


def users_of(code: str, count: int) -> Iterator[dict[str, str]]:
    """The first one administers the MOA, every tenth only reads."""
    for number in range(1, count + 1):
        name = person(code, number)
        yield {
            "organisation_code": code,
            "full_name": name,
            "email": f"{name.lower().replace(' ', '.')}.{number}@{code.lower()}.{DOMAIN}",
            "username": f"{code.lower()}-{number:03d}",
            "role": "admin" if number == 1 else "viewer" if number % 10 == 0 else "staff",
        }


def write_lists(inventory: Path) -> list[Path]:
    """One list per wave of the plan."""
    with (inventory / "moas.csv").open(newline="", encoding="utf-8") as stream:
        plan = list(csv.DictReader(stream))
    (inventory / "users").mkdir(exist_ok=True)
    written = []
    for wave in sorted({int(moa["wave"]) for moa in plan}):
        path = inventory / "users" / f"{wave}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            for moa in plan:
                if int(moa["wave"]) == wave:
                    writer.writerows(users_of(moa["code"], int(moa["users"])))
        written.append(path)
    return written


def main(argv: list[str]) -> int:
    for path in write_lists(Path(argv[1]) if len(argv) > 1 else PROJECT / "inventories" / "lab"):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
