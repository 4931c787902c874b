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
    parser.add_argument("--here", action="store_true", help="start from whoever is on board, instead of from nothing with seven waves")
    options = parser.parse_args()
    place = steps.merged_plan(GROUPS)
    with (place / "moas.csv").open(newline="", encoding="utf-8") as stream:
        plan = list(csv.DictReader(stream))
    codes = [row["code"] for row in plan if int(row["wave"]) == BACK]
    left_out = MEASURED + (["earlier_waves"] if options.here else [])

    def wave(number: int) -> steps.Run:
        # Preflight measures the hosts, once.
        skip = "preflight" if number > 1 else ""
        return steps.must(
            steps.play(
                "rollout_wave", skip_tags=skip, wave=number, rollout_directory=str(place), rollout_skip_gates=left_out, break_lock=options.here
            )
        )

    if not options.here:
        steps.reset()
    known = steps.status()
    there = options.here and all(known.get(code, {}).get("state") == "onboarded" for code in codes)
    for number in ([] if there else [BACK]) if options.here else range(1, len(GROUPS) + 1):
        print(f"group {number}: {wave(number).seconds:.0f} s", flush=True)
    before = steps.status()
    others = [code for code, row in before.items() if row["state"] == "onboarded" and code not in codes]

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
        f"On board beside wave 5 were {len(others)} organisations of the waves before it; gates that Prometheus measures were left out."
        if options.here
        else "To save time, waves 1 to 4 came on board as one wave, then wave 5, then waves 6 and 7 as one; none was watched, "
        "and gates that Prometheus measures were left out.",
    ]
    return write("wave_back", __doc__ or "", [out, login, noticed, lost], notes)


if __name__ == "__main__":
    sys.exit(main())
