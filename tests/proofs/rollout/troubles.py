"""Conditions that must stop a wave, made real on the lab: how to make each, and how to end it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from failover import DATABASE_HOSTS, cache_master, healthy, leader
from report import PROJECT, on

from . import steps

sys.path.insert(0, str(PROJECT / "filter_plugins"))
from rollout_gates import OWN_GATES  # noqa: E402

VARIABLES = yaml.safe_load((PROJECT / "roles/rollout/vars/main/gates.yml").read_text())
LIMITS: dict[str, float] = VARIABLES["__rollout_default_limits"]
ALL_GATES = [*OWN_GATES, *VARIABLES["__rollout_asked"]]
# Prometheus scrapes every 15 s.
SCRAPED = 35
# The gate asks for a lag of 30 s in every look of five minutes.
LAG_LASTS = 335
DRILL = "/var/lib/prometheus/node-exporter/restore_drill.prom"
# A page that needs the database, asked of the host itself.
DIRECT = (
    "curl -sk -o /dev/null --max-time 40 --cert /etc/obcms/pki/app.crt --key /etc/obcms/pki/app.key -H 'Host: obcms.lab.internal' "
    "-H 'X-Forwarded-Proto: https' -H 'Cookie: sessionid=abcdefghijklmnopqrstuvwxyz012345' https://$(hostname -i | cut -d' ' -f1):8000/"
)


@dataclass
class Trouble:
    """A condition, how to make it, how to end it, and the gate that must close."""

    gate: str
    what: str
    make: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None
    extra: dict[str, Any] = field(default_factory=dict)
    # Gates that close with it.
    also: tuple[str, ...] = ()


def asked(query: str) -> float:
    """A number from Prometheus."""
    return float(on("mon1", f"promq '{query}'").split("=>")[1].split()[0])


def now(gate: str) -> float:
    return asked(" ".join(VARIABLES["__rollout_queries"][gate].replace("{{ __rollout_range }}", "2m").split()))


def limit(**changed: float) -> dict[str, Any]:
    return {"rollout_limits": changed}


def stopped(gate: str, what: str, host: str, units: str) -> Trouble:
    return Trouble(gate, what, lambda: on(host, f"systemctl stop {units}"), lambda: on(host, f"systemctl start {units}"))


def errors() -> None:
    on("web4", f"systemctl stop pgbouncer; for round in 1 2 3; do for n in $(seq 12); do {DIRECT} & done; wait; done", timeout=300)


def slow(hosts: tuple[str, ...] = ("web4",), rounds: int = 6) -> None:
    """The hosts' poolers stand still for four seconds at a time while requests wait for them."""
    command = f"""for round in $(seq {rounds}); do
      systemctl kill --signal=STOP pgbouncer.service
      for n in $(seq 8); do {DIRECT} & done
      sleep 4.5; systemctl kill --signal=CONT pgbouncer.service; wait
    done"""
    workers = [threading.Thread(target=on, args=(host, command), kwargs={"timeout": 300, "check": False}) for host in hosts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def awake(hosts: tuple[str, ...] = ("web4",)) -> None:
    for host in hosts:
        on(host, "systemctl kill --signal=CONT pgbouncer.service")


def connections() -> Trouble:
    most = asked("max(pg_settings_max_connections)")
    close = limit(connections_percent=min(79, now("connections_percent") + 25 / most * 100))
    idle = "for n in $(seq 50); do sudo -u postgres psql -Atqc 'SELECT pg_sleep(400)' >/dev/null 2>&1 </dev/null & done; sleep 1"
    end = "sudo -u postgres psql -Atqc \"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(400)'\""
    return Trouble("connections_percent", f"50 more connections of {most:g}", lambda: on(leader(), idle), lambda: on(leader(), end), close)


def fill_redis() -> None:
    # One write after the other: those of a script leave as one transaction, which buffers hold several times.
    on(cache_master(), """limit=$(redis-obcms info memory | tr -d '\\r' | sed -n 's/^maxmemory://p')
      used=$(redis-obcms info memory | tr -d '\\r' | sed -n 's/^used_memory://p')
      value=$(head -c 1000000 /dev/zero | tr '\\0' x)
      for n in $(seq $(( (limit * 92 / 100 - used) / 1048576 ))); do echo "SET proof:fill:$n $value"; done | redis-obcms >/dev/null""")  # fmt: skip


def empty_redis() -> None:
    on(cache_master(), "redis-obcms --scan --pattern 'proof:fill:*' | xargs -r -n 50 redis-obcms unlink >/dev/null")


def disk() -> Trouble:
    """All hosts of the lab share the machine's disk, which must not really fill up: the limit comes to the disk instead."""
    size = float(on("mon1", "df --output=size -B1 / | tail -n 1"))
    close = limit(disk_percent=now("disk_percent") + 100 * 2e9 / size)
    fill, clear = "fallocate -l 4G /var/tmp/proof-fill", "rm -f /var/tmp/proof-fill"
    return Trouble("disk_percent", "a file of 4 GB, limit 2 GB above what is used", lambda: on("mon1", fill), lambda: on("mon1", clear), close)


def cpu() -> Trouble:
    """Half way between what is used now and all of it."""
    close = limit(cpu_percent=min(99.5, (now("cpu_percent") + 100) / 2))
    burn = "for n in $(seq 8); do nohup nice -n -5 timeout 300 sha256sum /dev/zero >/dev/null 2>&1 </dev/null & done; sleep 1"
    return Trouble(
        "cpu_percent", "eight busy programs on two cores", lambda: on("web4", burn), lambda: on("web4", "pkill sha256sum", check=False), close
    )


def databases(verb: str) -> None:
    """All of them; nobody takes over meanwhile, for the leader is the last to go."""
    if verb == "stop":
        first = leader()
        for host in [*(each for each in DATABASE_HOSTS if each != first), first]:
            on(host, "systemctl stop patroni")
        return
    for host in DATABASE_HOSTS:
        on(host, "systemctl start patroni")
    healthy()


def aged() -> Trouble:
    change = "s/^(obcms_backup_restored_stop_timestamp_seconds) .*/\\1 '$(($(date +%s) - 90000))'/"
    age = f"cp -p {DRILL} /var/tmp/drill.prom && sed -i -E '{change}' {DRILL}"
    return Trouble(
        "backup_hours",
        "the newest backup is 25 hours old",
        lambda: on("backup1", age),
        lambda: on("backup1", f"[ ! -e /var/tmp/drill.prom ] || mv /var/tmp/drill.prom {DRILL}"),
    )


def held_back() -> Trouble:
    """A replica stops replaying while the leader goes on writing. Its process is stopped: a pause would be ended by Patroni."""
    ended = threading.Event()
    startup = "pkill --signal {} --full '^postgres: .*: startup recovering' || [ {} = CONT ]"

    def write() -> None:
        while not ended.wait(5):
            on(leader(), "sudo -u postgres psql -Atqc 'SELECT txid_current()'", check=False)

    def make() -> None:
        replica = next(host for host in DATABASE_HOSTS if host != leader())
        on(replica, startup.format("STOP", "STOP"))
        threading.Thread(target=write, daemon=True).start()

    def end() -> None:
        ended.set()
        for host in DATABASE_HOSTS:
            on(host, startup.format("CONT", "CONT"))
        healthy()

    return Trouble("replication_lag_seconds", "a replica is held back", make, end)


def early() -> list[Trouble]:
    """Troubles of the plan itself, which only a wave that starts can meet."""
    late_, example = steps.small_plan(start="2099-01-01"), steps.small_plan(first_line="# example dates\n")
    long = {"rollout_directory": str(steps.small_plan(listed=400)), "rollout_users_per_host": 80}
    return [
        Trouble("earlier_waves", "wave 1 has not been on board", extra={"wave": 2}),
        Trouble("calendar", "the wave's day has not come", extra={"rollout_directory": str(late_)}),
        Trouble("calendar", "the dates are examples", extra={"rollout_directory": str(example)}),
        Trouble("capacity", "the list has more users than the fleet carries", extra=long),
    ]


def late() -> list[Trouble]:
    """Troubles that need a wave on board, or leave nothing that works."""
    webs = ("web1", "web2", "web3", "web4")
    busy = "six users keep the workers busy, and the next wave brings three hundred"
    return [
        Trouble("forecast", busy, lambda: slow(webs), lambda: awake(webs), {"wave": 2, "rollout_limits": LIMITS}),
        Trouble("leader", "no database leads", lambda: databases("stop"), lambda: databases("start"), {"rollout_status_command": []}),
    ]


def silent() -> Trouble:
    return stopped("p95_seconds", "Prometheus is stopped: no data is no pass", "mon1", "prometheus.service")


def web4_away(gate: str, also: tuple[str, ...] = ()) -> Trouble:
    trouble = stopped(gate, "one host is not ready and does not say its version", "web4", "obcms.socket obcms.service")
    return Trouble(gate, trouble.what, trouble.make, trouble.end, also=also)


def failing() -> Trouble:
    return Trouble("errors_percent", "pages fail on a host that has lost its pooler", errors, lambda: on("web4", "systemctl start pgbouncer"))


def slowed() -> Trouble:
    return Trouble("p95_seconds", "a host is slow", slow, awake)


def full_redis() -> Trouble:
    return Trouble("redis_memory_percent", "Redis is 92 % full", fill_redis, empty_redis)


def alarming() -> Trouble:
    return stopped("critical_alerts", "a pooler is down: ServiceDown fires", "worker2", "pgbouncer.service")


def groups() -> Iterator[list[Trouble]]:
    """Troubles before a wave that can be there together; limits that depend on what is measured are set when their turn comes."""
    # The alert waits a minute before it fires, while the others are tried.
    yield [full_redis(), connections(), disk(), aged(), alarming()]
    yield [web4_away("ready"), web4_away("version")]
    yield [silent()]
    yield [failing()]
    yield [slowed()]
    yield [cpu()]


def soaking() -> list[Trouble]:
    """Troubles while a wave soaks, one after the other."""
    return [web4_away("ready", ("version",)), failing(), slowed(), full_redis(), connections(), disk(), alarming(), aged(), cpu()]
