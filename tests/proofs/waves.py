#!/usr/bin/env python3
"""All nine waves, one after the other, while members of the organisations on board work: how long, how many requests fail, who is proven."""

from __future__ import annotations

import argparse
import csv
import sys

from report import Series, write
from rollout import steps
from rollout.load import Load

SOAK_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--factor", type=float, default=0.05, help="share of 10 requests per user and minute that this machine carries (default: 0.05)"
    )
    parser.add_argument("--keep", action="store_true", help="go on from the waves that are on board instead of starting from none")
    parser.add_argument("--range", default="1h", help="how far gates look back; less where other proofs have just been run (default: 1h)")
    options = parser.parse_args()
    with (steps.LAB / "moas.csv").open(newline="", encoding="utf-8") as stream:
        plan = list(csv.DictReader(stream))
    if not options.keep:
        steps.reset()

    total = Series("nine waves, without the time under watch", 1800)
    each = Series("one wave, without the time under watch", 300)
    failed = Series("requests of members that failed", 0, "requests")
    missing = Series("organisations that are not proven", 0, "organisations")
    strangers = Series("accounts that the lists do not have, or that are missing", 0, "accounts")
    locked = Series("accounts that their sealed one-time password does not open", 0, "accounts")
    again = Series("tasks that change something when all waves are run again", 0, "tasks")

    load = Load({row["code"]: int(row["users"]) for row in plan}, options.factor)
    load.start()
    try:
        for number in steps.WAVES:
            run = steps.must(steps.wave(number, __rollout_range=options.range))
            each.values.append(run.seconds - SOAK_SECONDS)
            load.join([row["code"] for row in plan if int(row["wave"]) == number])
            print(f"wave {number}: {run.seconds:.0f} s, {load.rate:.1f} requests/s from now on", flush=True)
        total.values.append(sum(each.values))
        asked, bad = load.seen()
    finally:
        load.stop()
    failed.values.append(len(bad))
    failed.failures += [f"{code} {path}: {found}" for _, code, path, found in bad[:10]]

    board = steps.must(steps.play("rollout_status"))
    if "44 of 44 MOAs proven, 9 of 9 waves complete" not in board.words:
        missing.failures.append(board.text.splitlines()[-8])
    missing.values.append(sum(row["state"] != "onboarded" for row in steps.status().values()) + 44 - len(steps.status()))
    found, wanted = steps.accounts(), steps.listed()
    strangers.values.append(len(set(found.items()) ^ set(wanted.items())))
    passwords = steps.sealed()
    locked.values.append(len(steps.useless(passwords)) + len(set(wanted) - set(passwords)))
    again.values.append(sum(steps.must(steps.wave(number, __rollout_range=options.range)).changed for number in steps.WAVES))
    notes = [
        f"{asked} requests by members, at {options.factor:g} x 10 requests per user and minute ({load.rate:.1f}/s with all on board); "
        "this machine runs all 16 hosts on its cores.",
        f"Each wave was watched for {SOAK_SECONDS} s, which the times leave out; its gates looked back {options.range}. A wave is proven by a login "
        "of each organisation: it sees its own record, and is refused another's.",
    ]
    return write("waves", __doc__ or "", [total, each, failed, missing, strangers, locked, again], notes)


if __name__ == "__main__":
    sys.exit(main())
