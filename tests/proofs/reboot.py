#!/usr/bin/env python3
"""Whether every host comes back by itself after a reboot, and whether site.yml then leaves leaders and services alone."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time

from failover import cache_master, healthy, leader
from report import PROJECT, Series, container, docker, lab, on, write

LIMIT = 120


def running(host: str) -> dict[str, str]:
    """Enabled services that run on the host: name to the identity of this run."""
    text = on(host, "systemctl show --type=service --state=running --property=Id --property=InvocationID --property=UnitFileState '*.service'")
    found = {}
    for block in text.split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("UnitFileState") == "enabled":
            found[unit["Id"]] = unit["InvocationID"]
    return found


def back(host: str, wanted: set[str]) -> str:
    """Empty when everything the host ran before its reboot runs again, else what is missing."""
    try:
        failed = on(host, "systemctl --failed --plain --no-legend | cut -d' ' -f1", check=False, timeout=20)
        missing = wanted - set(running(host))
    except (RuntimeError, subprocess.TimeoutExpired):
        return "no answer over SSH"
    return ", ".join(sorted(missing | set(failed.split())))


def reboot(host: str, series: Series) -> None:
    """Restart a host and note the seconds until all it ran before runs again."""
    wanted = set(running(host))
    start = time.monotonic()
    docker("restart", "--time", "20", container(host))
    while (missing := back(host, wanted)) and time.monotonic() - start < LIMIT:
        time.sleep(1)
    series.values.append(time.monotonic() - start)
    if missing:
        series.failures.append(f"{host}: after {LIMIT} s not back: {missing}")
    print(f"{host}: {len(wanted)} services, {series.values[-1]:.1f} s{' MISSING ' + missing if missing else ''}", flush=True)


def playbook(name: str) -> str:
    """Output of a playbook on the lab, with its exit status as the last line."""
    command = ["ansible-playbook", "-i", "inventories/lab", name]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return f"{done.stdout}\n{done.stderr}\nexit {done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", nargs="+", help="these hosts only (default: all, one after the other)")
    options = parser.parse_args()
    names = [h["name"] for h in lab.wanted_hosts()]
    chosen = options.hosts or names
    if unknown := set(chosen) - set(names):
        parser.error(f"unknown hosts {', '.join(sorted(unknown))}; the lab has {', '.join(names)}")

    reboots = Series("everything on a rebooted host runs again", LIMIT)
    for host in chosen:
        reboot(host, reboots)
        if host.startswith("db"):
            healthy()
    time.sleep(30)

    leaders = {"PostgreSQL leader": leader(), "Redis master": cache_master()}
    before = {name: running(name) for name in names}
    site = playbook("site.yml")
    after = {name: running(name) for name in names}
    changed = Series("tasks that site.yml changes on a host afterwards", 0, "tasks")
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", site, re.MULTILINE)
    changed.values.append(float(max((int(count) for _, count, _, _ in recap), default=-1)))
    if not site.endswith("exit 0") or len(recap) < len(names):
        changed.failures.append(f"site.yml: {site[-600:]}")
    changed.failures += [f"{name}: changed={count}" for name, count, _, _ in recap if count != "0"]
    restarted = Series("services that site.yml restarts, leaders that it moves", 0, "services")
    moved = [f"{what}: {was} -> {now}" for (what, was), now in zip(leaders.items(), (leader(), cache_master()), strict=True) if was != now]
    restarted.failures += moved
    restarted.failures += [f"{name}: {unit}" for name in names for unit, run in before[name].items() if after[name].get(unit) != run]
    restarted.values.append(float(len(restarted.failures)))
    checks = Series("rows of verify.yml that fail afterwards", 0, "rows")
    verify = playbook("playbooks/verify.yml")
    checks.values.append(0.0 if verify.endswith("exit 0") else 1.0)
    if checks.values[-1]:
        checks.failures.append(verify[-1500:])
    notes = [f"Hosts: {', '.join(chosen)}.", f"Leaders while site.yml ran: {json.dumps(leaders)}."]
    return write("reboot", __doc__ or "", [reboots, changed, restarted, checks], notes)


if __name__ == "__main__":
    sys.exit(main())
