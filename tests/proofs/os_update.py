#!/usr/bin/env python3
"""Whether anybody at the balancer notices that playbooks/os_update.yml updates and restarts every host of the fleet, one after the other."""

from __future__ import annotations

import argparse
import json
import re
import sys

from failover import cache_master, healthy, leader
from report import PROJECT, Series, lab, on, write
from rollout.steps import play
from traffic import Traffic, failed_requests, longest_answer, remove, told

START = "cut -d' ' -f22 /proc/1/stat"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10, help="requests per second at the balancer meanwhile (default: 10)")
    options = parser.parse_args()
    names = [str(host["name"]) for host in lab.wanted_hosts()]
    healthy()
    before = {name: on(name, START) for name in names}
    leaders = [leader(), cache_master()]
    traffic = Traffic(options.rate)
    try:
        run = play("os_update", reboot="always", reason="proof")
    finally:
        found = traffic.stop()
    stayed = [name for name in names if on(name, START) == before[name]]
    restarted = Series("hosts that were not restarted", 0, "hosts", [float(len(stayed))], stayed)
    status = Series("exit status of the playbook, which ends with verify.yml", 0, "", [float(run.status)])
    (PROJECT / ".cache" / "os_update.log").write_text(run.text)
    wrong = [line for line in run.text.splitlines() if line.rstrip().endswith(" FAILED") or line.startswith("fatal:")]
    status.failures = ["\n".join([*wrong, *run.text.splitlines()[-25:]])] if run.status else []
    duration = Series("the whole fleet", 3600, values=[run.seconds])
    told_by_balancers = re.findall(r"held the address: [^\"']*", run.words)
    order = re.search(r"Show the order\] .*?msg: ([a-z0-9, ]+)", run.words)
    notes = [
        f"Order: {order[1].strip() if order else 'not shown'}.",
        f"Leaders before: {', '.join(leaders)}; afterwards: {leader()}, {cache_master()}.",
        *(f"A balancer that left said: {text}." for text in told_by_balancers),
        *told(found),
        f"Removed afterwards: {json.dumps(remove())}.",
    ]
    return write("os_update", __doc__ or "", [status, restarted, failed_requests(found), longest_answer(found, 15), duration], notes)


if __name__ == "__main__":
    sys.exit(main())
