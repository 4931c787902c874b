"""Filter connection_budget: can every tier open what the tier above it asks for, on every host, at the worst moment?"""

from __future__ import annotations

import bisect
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError, parse_size_mb, whole_number
from pgbouncer_sizing import RESERVED, RESERVED_SLOTS

DOCUMENTATION = r"""
name: connection_budget
short_description: The connection arithmetic of the whole fleet
description:
  - Clients that gunicorn and Celery can open fit into the PgBouncer of their host.
  - All pools of all poolers together fit into C(max_connections) less the reserved slots of every database host, because any of them
    may lead and reads fall back to the leader.
  - C(max_connections) x C(work_mem) + C(shared_buffers) fit into the memory of every database host.
  - Settings that a replica may not have lower than its leader are the same on all database hosts.
options:
  _input:
    description:
      - What will be rendered, overrides included. One dict per tier, host name to settings.
      - C(app) (C(workers), C(threads)), C(celery) (C(concurrency)), C(pgbouncer) (as pgbouncer_sizing returns; further C(databases)
        and C(users) with their own C(pool_size)), C(postgres) (as postgres_sizing returns, and C(memory_mb)).
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    budget: >-
      {{ {'app': {'web1': {'workers': 17, 'threads': 2}},
          'celery': {},
          'pgbouncer': {'web1': {'max_client_conn': 1000, 'default_pool_size': 50, 'reserve_pool_size': 5,
                                 'max_db_connections': 55, 'replica_pool_size': 25, 'replica_max_db_connections': 25}},
          'postgres': {'db1': {'max_connections': 500, 'shared_buffers': '4096MB', 'work_mem': '16MB', 'memory_mb': 16384}}}
         | connection_budget }}
  ansible.builtin.assert:
    that: budget.ok
    fail_msg: "{{ budget.problems }}"
"""

RETURN = r"""
_value:
  description: The sums, what does not fit, and what is left.
  type: dict
  contains:
    ok: {description: Everything fits., type: bool}
    rows: {description: "One sum per host: C(tier), C(host), C(what), C(count), C(limit), C(unit).", type: list}
    problems: {description: "What does not fit, with the setting to change and a value that does fit.", type: list}
    headroom: {description: "Least room left: C(clients), C(connections), C(memory_mb).", type: dict}
"""

WHO = "connection_budget"

# A Django process holds one connection per thread and database alias: the default and the replica (Django documentation,
# Databases, "Persistent connections": each thread maintains its own).
ALIASES = 2
# Celery: the parent process and the beat beside the pool's processes.
CELERY_EXTRA = 2
# PostgreSQL manual, 26.4.1: a hot standby does not start, or stops replay, where it has one of these lower than its primary.
SAME_EVERYWHERE = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
WORK_MEM_MIN_KB = 64  # PostgreSQL manual, 19.4.1


@dataclass
class Budget:
    """Rows and problems as they are found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, tier: str, host: str, what: str, count: int, limit: int, unit: str = "connections") -> bool:
        """One sum; true where it fits."""
        self.rows.append({"tier": tier, "host": host, "what": what, "count": count, "limit": limit, "unit": unit})
        return count <= limit

    def headroom(self, tier: str) -> int | None:
        """Least room left in one tier."""
        rooms = [row["limit"] - row["count"] for row in self.rows if row["tier"] == tier]
        return min(rooms) if rooms else None


@dataclass(frozen=True)
class Pool:
    """Server connections of one pooler to one database, all users together."""

    database: str
    sizes: tuple[int, ...]
    reserve: int
    cap: int

    @property
    def largest(self) -> int:
        """The largest pool of one user."""
        return max(self.sizes)

    @property
    def oversight(self) -> bool:
        """A cap below a pool: that pool would never be used in full, and nobody would know why."""
        return 0 < self.cap < self.largest

    @property
    def most(self) -> int:
        """What the pools grow to. A cap that is an oversight does not count: whoever set the larger pool wants it."""
        if self.oversight:
            return self.largest + self.reserve
        wanted = sum(self.sizes) + self.reserve * len(self.sizes)
        return min(wanted, self.cap) if self.cap else wanted


def _tier(fleet: Any, name: str) -> dict[str, Mapping[str, Any]]:
    tier = fleet.get(name, {}) if isinstance(fleet, Mapping) else None
    if not isinstance(tier, Mapping) or not all(isinstance(settings, Mapping) for settings in tier.values()):
        raise SizingError(f"{WHO}: {name} is {tier!r}, but must be a dict of host name to settings; see ansible-doc -t filter {WHO}")
    return {str(host): settings for host, settings in tier.items()}


def _number(host: str, settings: Mapping[str, Any], name: str, default: int | None = None, least: int = 0) -> int:
    value = settings.get(name, default)
    if value is None:
        raise SizingError(f"{WHO}: {host} has no {name}, but it is part of the sum; pass the settings that will be rendered")
    return whole_number(f"{WHO}: {host}", name, value, least)


def pools_of(host: str, settings: Mapping[str, Any]) -> list[Pool]:
    """Pools that one PgBouncer may open: one per database and user."""
    size = _number(host, settings, "default_pool_size")
    reserve = _number(host, settings, "reserve_pool_size", 0)
    cap = _number(host, settings, "max_db_connections", 0)
    replica_size = _number(host, settings, "replica_pool_size", size)
    databases: dict[str, Mapping[str, Any]] = {
        "leader": {},
        "replica": {
            "pool_size": replica_size,
            "reserve_pool_size": 0,
            "max_db_connections": settings.get("replica_max_db_connections", replica_size),
        },
        **(settings.get("databases") or {}),
    }
    users = list((settings.get("users") or {}).values()) or [{}]
    pools = []
    for database, own in databases.items():
        default = _number(host, own, "pool_size", size)
        sizes = [_number(host, user or {}, "pool_size", default) for user in users]
        pools.append(
            Pool(
                database=database,
                sizes=tuple(sizes),
                reserve=_number(host, own, "reserve_pool_size", reserve),
                cap=_number(host, own, "max_db_connections", cap),
            )
        )
    return pools


def pool_sum(pools: Iterable[Pool]) -> int:
    """Connections one pooler may hold."""
    return sum(pool.most for pool in pools)


def check_clients(budget: Budget, fleet: Any, poolers: Mapping[str, Mapping[str, Any]]) -> None:
    """What the processes of a host can open fits into the pooler of that host."""
    opened: dict[str, list[tuple[str, int]]] = {}
    for host, settings in _tier(fleet, "app").items():
        workers = _number(host, settings, "workers", least=1)
        threads = _number(host, settings, "threads", 1, least=1)
        what = f"{workers} workers x {threads} threads x {ALIASES} databases"
        opened.setdefault(host, []).append((what, workers * threads * ALIASES))
    for host, settings in _tier(fleet, "celery").items():
        processes = _number(host, settings, "concurrency", least=1)
        what = f"({processes} processes + parent and beat) x {ALIASES} databases"
        opened.setdefault(host, []).append((what, (processes + CELERY_EXTRA) * ALIASES))
    for host, parts in opened.items():
        what, count = " + ".join(text for text, _ in parts), sum(number for _, number in parts)
        if host not in poolers:
            budget.problems.append(
                f"{WHO}: {host} opens {count} connections, but has no PgBouncer; list it in the poolers' hosts, or empty its group"
            )
            continue
        limit = _number(host, poolers[host], "max_client_conn", least=1)
        if not budget.add("clients", host, what, count, limit):
            budget.problems.append(
                f"{WHO}: {host} opens {what} = {count} connections, but its PgBouncer takes {limit} clients; "
                f"raise pgbouncer_settings.max_client_conn to {count}"
            )


def check_poolers(budget: Budget, pools: Mapping[str, Sequence[Pool]]) -> None:
    """No pool is larger than the cap of its own database: it would never be used, and nobody would know why."""
    found: dict[tuple[Pool, str], list[str]] = {}
    for host, own in pools.items():
        for pool in own:
            if pool.oversight:
                prefix = "replica_" if pool.database == "replica" else ""
                found.setdefault((pool, prefix), []).append(host)
    for (pool, prefix), hosts in found.items():
        cap, size = f"{prefix}max_db_connections", f"{prefix or 'default_'}pool_size"
        budget.problems.append(
            f"{WHO}: {enumerate_hosts(hosts)} {'have' if hosts[1:] else 'has'} a pool of {pool.largest} for {'their' if hosts[1:] else 'its'} "
            f"{pool.database} database, but {cap} allows {pool.cap}; "
            f"raise pgbouncer_settings.{cap} to {pool.most} or lower {size} to {pool.cap}"
        )


def pool_limit(pools: Iterable[Pool]) -> int:
    """Connections that the caps of one pooler allow; without a cap the pool itself is the limit."""
    return sum(pool.cap or pool.most for pool in pools)


def reserved_slots(host: str, settings: Mapping[str, Any]) -> int:
    """Slots that poolers must leave free on one database host."""
    superusers = _number(host, settings, "superuser_reserved_connections", RESERVED_SLOTS["superuser_reserved_connections"])
    others = RESERVED - RESERVED_SLOTS["superuser_reserved_connections"]
    return superusers + _number(host, settings, "reserved_connections", 0) + others


def held(poolers: Mapping[str, Mapping[str, Any]], size: int, cap: float = math.inf) -> list[list[Pool]]:
    """Pools of poolers, whose numbers are checked, with general pools and caps held to these values; no cap stays none."""
    found = []
    for host, settings in poolers.items():
        own_size, own_cap = int(settings["default_pool_size"]), int(settings.get("max_db_connections", 0))
        found.append(pools_of(host, {**settings, "default_pool_size": min(size, own_size), "max_db_connections": min(cap, own_cap)}))
    return found


def least_cap(poolers: Mapping[str, Mapping[str, Any]], size: int) -> int:
    """The lowest cap that holds back no pool of one user, where general pools are held to a size."""
    return max(leader.largest + leader.reserve for leader, *_ in held(poolers, size))


def largest_pool(poolers: Mapping[str, Mapping[str, Any]], limit: int, caps: bool = False) -> int:
    """The largest general pool with which all poolers fit; 0 where none does."""

    def total(size: int) -> int:
        cap = least_cap(poolers, size) if caps else math.inf
        return sum(pool_sum(pools) for pools in held(poolers, size, cap))

    most = max(int(settings["default_pool_size"]) for settings in poolers.values())
    # The sum grows with the pool: as many sizes fit as the last of them is large.
    return bisect.bisect_right(range(1, most + 1), limit, key=total)


def pool_fix(poolers: Mapping[str, Mapping[str, Any]], total: int, limit: int, reserved: int) -> str:
    """The settings that bring the sum below the limit, with the largest values that do."""
    size, capped = largest_pool(poolers, limit), largest_pool(poolers, limit, caps=True)
    if capped > size:
        return f"lower pgbouncer_settings.max_db_connections to {least_cap(poolers, capped)} and default_pool_size to {capped}"
    if size:
        return f"lower pgbouncer_settings.default_pool_size to {size}"
    return f"raise postgres_settings.max_connections to {total + reserved} or have fewer poolers"


def enumerate_hosts(hosts: list[str]) -> str:
    """'db1, db2 and db3'."""
    return " and ".join([part for part in (", ".join(hosts[:-1]), hosts[-1]) if part])


def describe_pools(sums: Mapping[str, int]) -> str:
    """'6 poolers x 80' where they are alike, else every sum."""
    if len(set(sums.values())) == 1:
        return f"{len(sums)} poolers x {next(iter(sums.values()))}"
    return " + ".join(f"{host} {number}" for host, number in sums.items())


def check_connections(
    budget: Budget, poolers: Mapping[str, Mapping[str, Any]], pools: Mapping[str, Sequence[Pool]], databases: Mapping[str, Mapping[str, Any]]
) -> None:
    """All pools together fit into every database host."""
    if not poolers:
        return
    sums = {host: pool_sum(own) for host, own in pools.items()}
    for host, own in pools.items():
        parts = " + ".join(f"{pool.database} {pool.most}" for pool in own)
        budget.add("pools", host, parts, sums[host], pool_limit(own))
    what, total = describe_pools(sums), sum(sums.values())
    too_small: dict[tuple[int, int], list[str]] = {}
    for host, settings in databases.items():
        allowed = _number(host, settings, "max_connections", least=1)
        reserved = reserved_slots(host, settings)
        if not budget.add("connections", host, what, total, allowed - reserved):
            too_small.setdefault((allowed, reserved), []).append(host)
    for (allowed, reserved), hosts in too_small.items():
        limit = allowed - reserved
        budget.problems.append(
            f"{WHO}: {what} = {total} connections, but {enumerate_hosts(hosts)} {'allow' if hosts[1:] else 'allows'} {limit} "
            f"(max_connections {allowed} less {reserved} reserved); {pool_fix(poolers, total, limit, reserved)}"
        )


def check_memory(budget: Budget, databases: Mapping[str, Mapping[str, Any]]) -> None:
    """Every connection may sort at the same time."""
    too_much: dict[tuple[str, int, int, str], list[str]] = {}
    for host, settings in databases.items():
        if "memory_mb" not in settings:
            continue
        memory = _number(host, settings, "memory_mb", least=1)
        connections = _number(host, settings, "max_connections", least=1)
        sizes = {"work_mem": "4MB", "shared_buffers": "128MB", **settings}
        work_mem, shared = (parse_size_mb(f"{WHO}: {host}", name, sizes[name]) for name in ("work_mem", "shared_buffers"))
        what = f"{connections} connections x {sizes['work_mem']} + {sizes['shared_buffers']} shared"
        needed = -(-int((connections * work_mem + shared) * 1024) // 1024)
        if not budget.add("memory", host, what, needed, memory, "MB"):
            too_much.setdefault((what, needed, memory, memory_fix(memory, connections, work_mem, shared)), []).append(host)
    for (what, needed, memory, fix), hosts in too_much.items():
        verb = "have" if hosts[1:] else "has"
        budget.problems.append(f"{WHO}: {what} = {needed} MB, but {enumerate_hosts(hosts)} {verb} {memory} MB for PostgreSQL; {fix}")


def memory_fix(memory: int, connections: int, work_mem: float, shared: float) -> str:
    """The settings that bring the memory of one database host below its limit."""
    fitting_kb = int((memory - shared) * 1024 / connections)
    if fitting_kb >= 1024:
        return f"lower postgres_settings.work_mem to {fitting_kb // 1024}MB"
    if fitting_kb >= WORK_MEM_MIN_KB:
        return f"lower postgres_settings.work_mem to {fitting_kb}kB"
    fitting_connections = min(connections, max(1, int(memory / 2 / work_mem)))
    return f"lower postgres_settings.shared_buffers to {memory // 4}MB and max_connections to {fitting_connections}"


def check_equal(budget: Budget, databases: Mapping[str, Mapping[str, Any]]) -> None:
    """A replica with a lower value refuses to start or stops replaying."""
    for name in SAME_EVERYWHERE:
        values = {host: _number(host, settings, name) for host, settings in databases.items() if name in settings}
        if len(set(values.values())) > 1:
            found = ", ".join(f"{host} has {value}" for host, value in values.items())
            budget.problems.append(
                f"{WHO}: {name} must be the same on all database hosts, because any of them may lead, but {found}; "
                f"set postgres_settings.{name} for the whole group to {max(values.values())}"
            )


def connection_budget(fleet: Any, **unknown: Any) -> dict[str, Any]:
    """Every sum of the fleet."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes the fleet only")
    poolers, databases = _tier(fleet, "pgbouncer"), _tier(fleet, "postgres")
    budget = Budget()
    check_clients(budget, fleet, poolers)
    pools = {host: pools_of(host, settings) for host, settings in poolers.items()}
    check_poolers(budget, pools)
    check_connections(budget, poolers, pools, databases)
    check_memory(budget, databases)
    check_equal(budget, databases)
    return {
        "ok": not budget.problems,
        "rows": budget.rows,
        "problems": budget.problems,
        "headroom": {
            "clients": budget.headroom("clients"),
            "connections": budget.headroom("connections"),
            "memory_mb": budget.headroom("memory"),
        },
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"connection_budget": connection_budget}
