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
from rollout.troubles import VARIABLES

# The waves of the plan that come on board together, one group after the other; the second is taken back after the third.
GROUPS = ((1, 2, 3, 4), (5,), (6, 7))
BACK = 2
# What was in the last hour of a lab on which other proofs ran is no matter here.
MEASURED = [*VARIABLES["__rollout_asked"], "forecast"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=float, default=0.06, help="share of 10 requests per user and minute (default: 0.06)")
    options = parser.parse_args()
    place = steps.merged_plan(GROUPS)
    with (place / "moas.csv").open(newline="", encoding="utf-8") as stream:
        plan = list(csv.DictReader(stream))
    codes = [row["code"] for row in plan if int(row["wave"]) == BACK]
    others = [row["code"] for row in plan if int(row["wave"]) != BACK]

    def wave(number: int) -> steps.Run:
        extra = {"rollout_directory": str(place), "rollout_skip_gates": MEASURED}
        return steps.must(steps.play("rollout_wave", skip_tags="preflight", wave=number, **extra))

    steps.reset()
    for number in range(1, len(GROUPS) + 1):
        print(f"group {number}: {wave(number).seconds:.0f} s", flush=True)
    before = steps.status()

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
        back = steps.play("rollback", scope="wave", wave=BACK, rollout_directory=str(place))
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
    print(f"back: {back.seconds:.0f} s, members out after {[round(value, 1) for value in out.values]} s", flush=True)

    print(f"on board again: {wave(BACK).seconds:.0f} s", flush=True)
    after = steps.status()
    same = ("users", "records", "users_enabled", "state")
    lost.values.append(sum(any(before[code][name] != after[code][name] for name in same) for code in before))
    notes = [
        f"{asked} requests by members of {len(others) + len(codes)} organisations, {rest.rate:.1f} per second. A member is out at the first "
        "request of an open session that is not answered with a page; the figure includes the time until that organisation's next turn.",
        "That nobody of wave 5 can log in is proven by the playbook itself, by a login of each through the balancer.",
        "To save time, waves 1 to 4 came on board as one wave, then wave 5, then waves 6 and 7 as one; none was watched, "
        "and gates that Prometheus measures were left out.",
    ]
    return write("wave_back", __doc__ or "", [out, login, noticed, lost], notes)


if __name__ == "__main__":
    sys.exit(main())
