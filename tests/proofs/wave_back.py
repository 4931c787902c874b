#!/usr/bin/env python3
"""Wave 5 is taken back after wave 7: how soon its members are out, whether anybody else notices, and whether everything comes back."""

from __future__ import annotations

import argparse
import csv
import sys
import time

from report import Series, write
from rollout import steps
from rollout.load import Load

BACK, LAST = 5, 7


def on_board(plan: list[dict[str, str]], number: int) -> bool:
    known = steps.status()
    return all(known.get(row["code"], {}).get("state") == "onboarded" for row in plan if int(row["wave"]) == number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=float, default=0.1, help="share of 10 requests per user and minute (default: 0.1)")
    options = parser.parse_args()
    with (steps.LAB / "moas.csv").open(newline="", encoding="utf-8") as stream:
        plan = list(csv.DictReader(stream))
    for number in range(1, LAST + 1):
        # Waves are not what is measured here: they are not watched.
        if not on_board(plan, number):
            steps.must(steps.play("rollout_wave", skip_tags="preflight", wave=number, resume=True, rollout_directory=str(steps.calm_plan())))
    codes = [row["code"] for row in plan if int(row["wave"]) == BACK]
    before = steps.status()
    others = [row["code"] for row in plan if row["code"] not in codes and before.get(row["code"], {}).get("state") == "onboarded"]

    out = Series("a member of wave 5 is out, from the start of the command", 10)
    login = Series("organisations of wave 5 that can still log in", 0, "organisations")
    noticed = Series("requests of the others that failed", 0, "requests")
    lost = Series("organisations whose users or records differ after they came back", 0, "organisations")

    rest = Load({row["code"]: int(row["users"]) for row in plan}, options.factor)
    rest.start()
    rest.join(others + codes)
    time.sleep(15)
    try:
        begin = time.time()
        back = steps.play("rollback", scope="wave", wave=BACK)
        time.sleep(10)
        asked, bad = rest.seen()
    finally:
        rest.stop()
    for code in codes:
        times = [when for when, who, _, _ in bad if who == code]
        out.values.append(times[0] - begin if times else 999)
        out.failures += [] if times else [f"{code}: a member was never shut out"]
    noticed.values.append(sum(who in others for _, who, _, _ in bad))
    noticed.failures += [f"{who} {path}: {found}" for _, who, path, found in bad if who in others][:10]
    login.values.append(back.status)
    if back.status or sum(f"{code} " in back.text for code in codes) < len(codes):
        login.failures.append("\n".join(back.text.splitlines()[-20:]))

    steps.must(steps.play("rollout_wave", skip_tags="preflight", wave=BACK, rollout_directory=str(steps.calm_plan())))
    after = steps.status()
    same = ("users", "records", "users_enabled", "state")
    lost.values.append(sum(any(before[code][name] != after[code][name] for name in same) for code in codes))
    notes = [
        f"{asked} requests by members of {len(others) + len(codes)} organisations, {rest.rate:.1f} per second. A member is out at the first "
        "request of an open session that is not answered with a page; the figure includes the time until that organisation's next turn.",
        "That nobody of wave 5 can log in is proven by the playbook itself, by a login of each through the balancer.",
    ]
    return write("wave_back", __doc__ or "", [out, login, noticed, lost], notes)


if __name__ == "__main__":
    sys.exit(main())
