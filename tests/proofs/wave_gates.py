#!/usr/bin/env python3
"""Every gate of a wave stops it: each condition is made real on the lab, before a wave and while it soaks."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from failover import DATABASE_HOSTS, cache_master, healthy, leader
from report import Series, on, write
from rollout import steps

# Gates look back an hour; here two minutes, so that one trouble is forgotten before the next is made.
SHORT: dict[str, Any] = {"__rollout_range": "2m"}
# What the lab itself allows (its group_vars): extra variables replace the whole dict.
LIMITS = {"cpu_percent": 101, "disk_percent": 95, "forecast_percent": 1000}
SCRAPED = 40
OURS = "--cert /etc/obcms/pki/app.crt --key /etc/obcms/pki/app.key"
DIRECT = (
    f"curl -sk -o /dev/null --max-time 30 {OURS} -H 'Host: obcms.lab.internal' -H 'X-Forwarded-Proto: https' "
    "https://$(hostname -i | cut -d' ' -f1):8000/login/"
)


@dataclass
class Trouble:
    """A condition, how to make it, how to end it, and the gate that must close."""

    gate: str
    what: str
    make: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None
    extra: dict[str, Any] = field(default_factory=dict)
    wait: float = SCRAPED
    # Where the run cannot even come to its gates, it must say this instead.
    says: str = ""


def stop(host: str, units: str) -> tuple[Callable[[], object], Callable[[], object]]:
    return (lambda: on(host, f"systemctl stop {units}"), lambda: on(host, f"systemctl start {units}"))


def errors() -> None:
    """Pages that need the database fail on web4, which has lost its pooler."""
    on("web4", f"systemctl stop pgbouncer; for n in $(seq 60); do {DIRECT}; done", timeout=300)


def slow() -> None:
    """The workers of web4 stand still for four seconds at a time while requests wait for them."""
    on("web4", f"""for round in $(seq 6); do
      for n in $(seq 10); do {DIRECT} & done
      systemctl kill --signal=STOP obcms.service; sleep 4; systemctl kill --signal=CONT obcms.service; wait
    done""", timeout=300)  # fmt: skip


def held_back() -> None:
    """A replica stops replaying while the leader goes on writing, for longer than five minutes."""
    replica = next(host for host in DATABASE_HOSTS if host != leader())
    on(replica, "sudo -u postgres psql -Atqc 'SELECT pg_wal_replay_pause()'")
    end = time.monotonic() + 400
    while time.monotonic() < end:
        on(leader(), "sudo -u postgres psql -Atqc 'SELECT txid_current(), pg_switch_wal()'")
        time.sleep(5)


def goes_on() -> None:
    for host in DATABASE_HOSTS:
        on(host, "sudo -u postgres psql -Atqc 'SELECT pg_wal_replay_resume()' 2>/dev/null", check=False)
    healthy()


def many_connections() -> None:
    on(leader(), "for n in $(seq 60); do sudo -u postgres psql -Atqc 'SELECT pg_sleep(150)' >/dev/null & done; sleep 1")


def fill_redis() -> None:
    script = "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'proof:fill:' .. n, string.rep('x', 1048576)) end return 1"
    on(cache_master(), f"""limit=$(redis-obcms info memory | tr -d '\\r' | sed -n 's/^maxmemory://p')
      used=$(redis-obcms info memory | tr -d '\\r' | sed -n 's/^used_memory://p')
      redis-obcms eval "{script}" 0 $(( (limit * 92 / 100 - used) / 1100000 ))""")  # fmt: skip


def empty_redis() -> None:
    on(cache_master(), "redis-obcms --scan --pattern 'proof:fill:*' | xargs -r -n 50 redis-obcms unlink >/dev/null")


# All hosts of the lab share the machine's disk, which must not really fill up: the limit comes to the disk instead.
DISK: dict[str, Any] = {}


def fill_disk() -> None:
    size = int(on("mon1", "df --output=size -B1 / | tail -n 1"))
    answer = on("mon1", "promq '100 * max(1 - node_filesystem_avail_bytes / node_filesystem_size_bytes)'")
    DISK["rollout_limits"] = {**LIMITS, "disk_percent": float(answer.split("=>")[1].split()[0]) + 100 * 1e9 / size}
    on("mon1", "fallocate -l 2G /var/tmp/proof-fill")


def databases(verb: str) -> None:
    for host in DATABASE_HOSTS:
        on(host, f"systemctl {verb} patroni")
    if verb == "start":
        healthy()


def troubles() -> list[Trouble]:
    late = steps.calendar_elsewhere("", **{f"w{each}": f"2099-{each:02}-01" for each in steps.WAVES})
    example = steps.calendar_elsewhere("# example dates\n")
    beat = "obcms-beat.service obcms-beat-lock.service"
    web4, prometheus = stop("web4", "obcms.socket obcms.service"), stop("mon1", "prometheus.service")
    strict = {"rollout_limits": {**LIMITS, "cpu_percent": 70}}
    narrow = {"rollout_limits": {**LIMITS, "connections_percent": 15}}
    return [
        Trouble("earlier_waves", "wave 1 has not been on board", extra={"wave": 2}, wait=0),
        Trouble("calendar", "the wave's day has not come", extra={"rollout_directory": str(late)}, wait=0),
        Trouble("calendar", "the dates are examples", extra={"rollout_directory": str(example)}, wait=0),
        Trouble("capacity", "more users than the fleet carries", extra={"rollout_users_per_host": 10}, wait=0, says="application hosts x 10 users"),
        Trouble("version", "the application of one host does not say its version", *web4),
        Trouble("ready", "one host is not ready", *web4),
        Trouble("leader", "no database leads", lambda: databases("stop"), lambda: databases("start"),
                says="did not tell where its organisations stand"),
        Trouble("errors_percent", "requests fail", errors, lambda: on("web4", "systemctl start pgbouncer")),
        Trouble("p95_seconds", "a host is slow", slow),
        Trouble("connections_percent", "60 more connections, limit lowered to 15 %", many_connections, lambda: time.sleep(60), narrow, 30),
        Trouble("replication_lag_seconds", "a replica is held back", held_back, goes_on),
        Trouble("redis_memory_percent", "Redis is 92 % full", fill_redis, empty_redis),
        Trouble("disk_percent", "a file of 2 GB crosses the limit, which is set 1 GB above what is used", fill_disk,
                lambda: on("mon1", "rm -f /var/tmp/proof-fill"), DISK),
        Trouble("cpu_percent", "two busy programs, limit 70 % as in production",
                lambda: on("web4", "for n in 1 2; do timeout 170 sha256sum /dev/zero >/dev/null 2>&1 & done; sleep 1"),
                lambda: on("web4", "pkill sha256sum", check=False), strict, 120),
        Trouble("critical_alerts", "no beat runs", lambda: [on(h, f"systemctl stop {beat}") for h in ("worker1", "worker2")],
                lambda: [on(h, "systemctl start obcms-beat-lock.service") for h in ("worker1", "worker2")], wait=210),
        Trouble("backup_hours", "no backup that passed a restore test is known, or the newest is too old", wait=0,
                extra={"rollout_skip_gates": [], "rollout_limits": {**LIMITS, "backup_hours": 0.0001}}),
        Trouble("p95_seconds", "Prometheus is stopped: no data is no pass", *prometheus, wait=2),
    ]  # fmt: skip


def before_a_wave(trouble: Trouble, series: Series) -> None:
    begin, untouched = time.monotonic(), steps.accounts()
    trouble.make()
    try:
        time.sleep(trouble.wait)
        run = steps.play("rollout_wave", **{"wave": 1, **SHORT, **trouble.extra})
    finally:
        trouble.end()
    message = run.words.partition("does not start: ")[2].partition("(see")[0]
    stopped = run.status != 0 and (trouble.gate in message or (trouble.says != "" and trouble.says in run.words))
    series.values.append(0 if stopped else 1)
    if not stopped:
        series.failures.append(f"{trouble.gate} ({trouble.what}): exit status {run.status}, closed: {message or 'none'}")
    if steps.accounts() != untouched:
        series.failures.append(f"{trouble.gate}: accounts were changed behind a closed gate")
    print(
        f"{trouble.gate}: {trouble.what}: {'stopped' if stopped else 'NOT STOPPED'} ({message.strip()}), {time.monotonic() - begin:.0f} s", flush=True
    )
    time.sleep(130 if trouble.wait else 0)


def while_soaking(trouble: Trouble, series: Series) -> None:
    """The trouble begins with the soak of wave 1: the wave must be taken back."""
    extra = {"wave": 1, "rollout_directory": str(steps.calendar_elsewhere("")), **trouble.extra}

    def begin(_: subprocess.Popen[str]) -> None:
        trouble.make()

    try:
        run = steps.play("rollout_wave", {"soak | Watch the gates": begin}, **extra)
    finally:
        trouble.end()
    states = {row["state"] for row in steps.status().values()}
    series.values.append(0 if run.status and states == {"suspended"} else 1)
    if series.values[-1]:
        series.failures.append(
            f"{trouble.gate} ({trouble.what}) while soaking: exit status {run.status}, organisations are {', '.join(sorted(states))}"
        )
    print(f"soaking, {trouble.what}: {'taken back' if not series.values[-1] else 'NOT TAKEN BACK'}, {run.seconds:.0f} s", flush=True)
    time.sleep(130)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="GATE", help="these gates only")
    parser.add_argument("--no-soak", action="store_true", help="leave the exit gates out")
    options = parser.parse_args()
    steps.reset()
    chosen = [trouble for trouble in troubles() if not options.only or trouble.gate in options.only]
    entry = Series("entry gates that did not stop a wave", 0, "gates")
    for trouble in chosen:
        before_a_wave(trouble, entry)
    exits = Series("exit gates that did not take a wave back", 0, "gates")
    soaking = {"errors_percent", "ready", "p95_seconds", "disk_percent"}
    for trouble in [] if options.no_soak else chosen:
        if trouble.gate in soaking:
            while_soaking(trouble, exits)
    notes = [
        "n is the number of conditions. In each, the wave ended with a non-zero exit and the name of the gate, and no account was changed.",
        "The forecast (`forecast`) needs users on board: tests/filters/test_rollout_gates.py closes it at its limit. While soaking, gates that "
        "Prometheus measures all take one way; errors, slow answers, a host that is not ready, a full disk and a silent Prometheus were tried.",
    ]
    return write("wave_gates", __doc__ or "", [entry] + ([] if options.no_soak else [exits]), notes)


if __name__ == "__main__":
    sys.exit(main())
