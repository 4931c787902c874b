#!/usr/bin/env python3
"""What to buy before provisioning: capacity for a number of MOAs and users, and whether a fleet carries them.

  python scripts/capacity_planning.py --moas 44 --users 1000
  python scripts/capacity_planning.py --moas 44 --users 1000 --json
  python scripts/capacity_planning.py --moas 44 --users 1000 --export-json plan.json
  python scripts/capacity_planning.py --moas 44 --users 1000 --inventory inventories/prod

Exit status: 0, 1 when --inventory names a fleet that is too small, 2 on nonsense input.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "shared"), str(PROJECT / "filter_plugins")]

PHASE = "Phase 8"
# Larger numbers than a country has are slips of the keyboard.
MOST_MOAS = 100_000
MOST_USERS = 100_000_000

# Facts, "Capacity planner": one constant per figure there.
CONNECTIONS_PER_USER = 3
CONNECTIONS_BESIDE = 50 + 50
CONNECTION_MARGIN = Fraction(12, 10)
RECOMMENDED_CONNECTIONS = 500
POOL_SIZE = 50
DATABASE_BASE_MB, DATABASE_PER_MOA_MB, DATABASE_PER_USER_MB = 500, 50, 5
# Users below which a size is enough: (users, ram_gb, shared_buffers_gb).
DATABASE_RAM = ((200, 8, 2), (500, 16, 4), (1000, 32, 8))
DATABASE_RAM_LARGEST = (64, 16)
SERVER_CORES, SERVER_WORKERS, SERVER_THREADS = 8, 17, 2
WORKER_MB, SERVER_BESIDE_MB = 250, 500 + 1024
USERS_PER_SERVER, FEWEST_SERVERS, MOST_SERVERS = 200, 4, 8
SESSION_KB, CACHE_QUERIES_MB, CACHE_FRAGMENTS_MB = 50, 500, 100
CACHE_OF_DATABASE = Fraction(20, 100)
CACHE_MARGIN = Fraction(15, 10)
CACHE_LEAST_GB, CACHE_MOST_GB, CACHE_NODES = 8, 32, 3
CELERY_WORKERS, CELERY_CORES, CELERY_RAM_GB, CELERY_CONCURRENCY = 5, 2, 2, 4
UPLOADS_PER_MOA_MB = 100
STATIC_GB, MEDIA_CACHE_GB, LOGS_GB = 1, 2, 20
STORAGE_BESIDE_GB = Fraction(1, 2) + 1 + 10
STORAGE_LEAST_GB, STORAGE_MOST_GB = 100, 1024
REQUESTS_PER_MINUTE, REQUEST_KB, PEAK_FACTOR = 10, 500, 2
BANDWIDTH_STEP_MBPS, BANDWIDTH_LEAST_MBPS = 100, 1000
COST_SERVER, COST_DATABASE, COST_CACHE, COST_BALANCER, COST_BANDWIDTH, COST_100_GB = 150, 400, 150, 50, 50, 10

Plan = dict[str, dict[str, Any]]


def up(value: Fraction | int) -> int:
    """Rounded up, exactly: binary fractions would turn 3720 into 3721."""
    return math.ceil(value)


def held(value: int, least: int, most: int) -> int:
    """A value kept within limits."""
    return max(least, min(most, value))


def database_plan(moas: int, users: int) -> dict[str, Any]:
    storage = up(Fraction(2 * (DATABASE_BASE_MB + DATABASE_PER_MOA_MB * moas + DATABASE_PER_USER_MB * users), 1024))
    connections = up((CONNECTIONS_PER_USER * users + CONNECTIONS_BESIDE) * CONNECTION_MARGIN)
    ram, buffers = next(((ram, buffers) for below, ram, buffers in DATABASE_RAM if users < below), DATABASE_RAM_LARGEST)
    return {
        "max_connections": connections,
        "recommended_connections": RECOMMENDED_CONNECTIONS,
        "pgbouncer_pool_size": POOL_SIZE,
        "pgbouncer_max_clients": connections,
        "storage_gb": storage,
        "ram_gb": ram,
        "shared_buffers_gb": buffers,
        "work_mem_mb": 16,
        "read_replicas": 2,
        "backup_retention_days": 30,
        "estimated_backup_size_gb": storage,
    }


def application_plan(users: int) -> dict[str, Any]:
    ram = up(Fraction(SERVER_WORKERS * WORKER_MB + SERVER_BESIDE_MB, 1024))
    servers = held(up(Fraction(users, USERS_PER_SERVER)), FEWEST_SERVERS, MOST_SERVERS)
    return {
        "cpu_cores_per_server": SERVER_CORES,
        "gunicorn_workers": SERVER_WORKERS,
        "gunicorn_threads": SERVER_THREADS,
        "ram_gb_per_server": ram,
        "users_per_server": USERS_PER_SERVER,
        "server_count": servers,
        "total_cpu_cores": servers * SERVER_CORES,
        "total_ram_gb": servers * ram,
    }


def cache_plan(users: int, database_storage_gb: int) -> dict[str, Any]:
    data_mb = Fraction(users * SESSION_KB, 1024) + CACHE_QUERIES_MB + CACHE_FRAGMENTS_MB + CACHE_OF_DATABASE * database_storage_gb * 1024
    memory = held(up(CACHE_MARGIN * data_mb / 1024), CACHE_LEAST_GB, CACHE_MOST_GB)
    return {
        "memory_gb": memory,
        "master_nodes": 1,
        "replica_nodes": 2,
        "sentinel_nodes": 3,
        "total_memory_gb": CACHE_NODES * memory,
        "persistence": "AOF + RDB",
        "eviction_policy": "allkeys-lru",
    }


def celery_plan() -> dict[str, Any]:
    return {
        "worker_count": CELERY_WORKERS,
        "cpu_cores_per_worker": CELERY_CORES,
        "ram_gb_per_worker": CELERY_RAM_GB,
        "concurrency_per_worker": CELERY_CONCURRENCY,
        "beat_scheduler": 1,
        "total_cpu_cores": CELERY_WORKERS * CELERY_CORES,
        "total_ram_gb": CELERY_WORKERS * CELERY_RAM_GB,
    }


def storage_plan(moas: int) -> dict[str, Any]:
    total = held(up(2 * (Fraction(moas * UPLOADS_PER_MOA_MB, 1024) + STORAGE_BESIDE_GB)), STORAGE_LEAST_GB, STORAGE_MOST_GB)
    return {
        "total_storage_gb": total,
        "user_uploads_gb": up(Fraction(2 * moas * UPLOADS_PER_MOA_MB, 1024)),
        "static_files_gb": STATIC_GB,
        "media_cache_gb": MEDIA_CACHE_GB,
        "logs_gb": LOGS_GB,
        "backup_storage_gb": 2 * total,
        "cdn_enabled": True,
    }


def network_plan(users: int) -> dict[str, Any]:
    needed = Fraction(users * REQUESTS_PER_MINUTE * REQUEST_KB * PEAK_FACTOR * 8, 60 * 1024)
    bandwidth = max(BANDWIDTH_LEAST_MBPS, up(needed / BANDWIDTH_STEP_MBPS) * BANDWIDTH_STEP_MBPS)
    return {
        "bandwidth_mbps": bandwidth,
        "bandwidth_gbps": bandwidth / 1000,
        "peak_requests_per_second": users * REQUESTS_PER_MINUTE * PEAK_FACTOR / 60,
        "avg_requests_per_second": users * REQUESTS_PER_MINUTE / 60,
    }


def cost_plan(servers: int, storage_gb: int) -> dict[str, Any]:
    parts = {
        "application_servers_usd": servers * COST_SERVER,
        "database_usd": COST_DATABASE,
        "cache_usd": COST_CACHE,
        "load_balancer_usd": COST_BALANCER,
        "storage_usd": up(Fraction(storage_gb * COST_100_GB, 100)),
        "bandwidth_usd": COST_BANDWIDTH,
    }
    monthly = sum(parts.values())
    return {**parts, "total_monthly_usd": monthly, "total_annual_usd": 12 * monthly}


def plan(moas: int, users: int, now: datetime.datetime) -> Plan:
    """All sections."""
    database, application, storage = database_plan(moas, users), application_plan(users), storage_plan(moas)
    return {
        "metadata": {
            "generated_at": now.isoformat(timespec="seconds"),
            "bmms_phase": PHASE,
            "moas": moas,
            "expected_users": users,
            "users_per_moa": up(Fraction(users, moas)),
        },
        "database": database,
        "application_servers": application,
        "cache": cache_plan(users, database["storage_gb"]),
        "celery": celery_plan(),
        "storage": storage,
        "network": network_plan(users),
        "cost_estimate": cost_plan(application["server_count"], storage["total_storage_gb"]),
    }


def compare(wanted: Plan, groups: Mapping[str, Sequence[str]], capacities: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The plan beside the fleet that an inventory declares."""
    from celery_sizing import celery_sizing
    from connection_budget import connection_budget
    from fleet_plan import plan_fleet
    from gunicorn_sizing import gunicorn_sizing
    from host_share import nominal_memory_mb
    from inventory_rules import services_of

    def hosts(group: str) -> list[str]:
        return list(groups.get(group) or ())

    def known(group: str) -> list[Mapping[str, int]]:
        return [capacities[host] for host in hosts(group) if host in capacities]

    def memory_gb(group: str) -> float:
        return min((nominal_memory_mb(each["memory_mb"]) / 1024 for each in known(group)), default=0)

    application, database, cache, celery = (wanted[name] for name in ("application_servers", "database", "cache", "celery"))
    rows: list[dict[str, Any]] = []

    def row(tier: str, what: str, needed: float, found: float) -> None:
        rows.append({"tier": tier, "what": what, "plan": needed, "fleet": found, "short": max(0, round(needed - found, 1))})

    row("application", "servers", application["server_count"], len(hosts("app")))
    row("database", "hosts (primary and replicas)", 1 + database["read_replicas"], len(hosts("postgres")))
    row("cache", "hosts (master and replicas)", CACHE_NODES, len(hosts("redis")))
    row("cache", "Sentinels", cache["sentinel_nodes"], len(hosts("sentinel")))
    unknown = sorted({host for group in ("app", "postgres", "redis", "celery") for host in hosts(group)} - set(capacities))
    if known("app"):
        sizes = [gunicorn_sizing(capacities[host], services_of(host, groups)) for host in hosts("app") if host in capacities]
        row("application", "gunicorn workers", application["server_count"] * SERVER_WORKERS, sum(each["workers"] for each in sizes))
        row("application", "cores", application["total_cpu_cores"], sum(each["vcpus"] for each in known("app")))
    if known("postgres"):
        row("database", "memory of the smallest host (GB)", database["ram_gb"], round(memory_gb("postgres"), 1))
        row("database", "disk of the smallest host (GB)", database["storage_gb"], min(each["disk_gb"] for each in known("postgres")))
    if known("redis"):
        # redis_sizing gives half of a host to data.
        row("cache", "memory of the smallest host (GB)", 2 * cache["memory_gb"], round(memory_gb("redis"), 1))
    if known("celery"):
        processes = sum(celery_sizing(capacities[host], services_of(host, groups))["concurrency"] for host in hosts("celery") if host in capacities)
        row("celery", "processes", celery["worker_count"] * celery["concurrency_per_worker"], processes)
    budget = connection_budget(plan_fleet(groups, capacities, {}))
    return {
        "rows": rows,
        "unknown_hosts": unknown,
        "carries_users": carried_users(groups, capacities),
        "connection_headroom": budget["headroom"],
        "problems": budget["problems"],
    }


def carried_users(groups: Mapping[str, Sequence[str]], capacities: Mapping[str, Mapping[str, int]]) -> int | None:
    """Users that the application servers carry, 200 for each full set of 17 workers; one server is kept as reserve where there are several."""
    from gunicorn_sizing import gunicorn_sizing
    from inventory_rules import services_of

    workers = sorted(
        gunicorn_sizing(capacities[host], services_of(host, groups))["workers"] for host in groups.get("app") or () if host in capacities
    )
    if not workers:
        return None
    serving = workers if len(workers) == 1 else workers[:-1]
    return int(Fraction(sum(serving) * USERS_PER_SERVER, SERVER_WORKERS))


TITLES = {
    "database": "Database",
    "application_servers": "Application servers",
    "cache": "Cache",
    "celery": "Background workers",
    "storage": "Storage",
    "network": "Network",
    "cost_estimate": "Cost estimate (USD)",
}
ACRONYMS = {
    "gb": "(GB)",
    "mb": "(MB)",
    "usd": "",
    "mbps": "(Mbps)",
    "gbps": "(Gbps)",
    "ram": "RAM",
    "cpu": "CPU",
    "cdn": "CDN",
    "pgbouncer": "PgBouncer",
}


def label(key: str) -> str:
    """'ram_gb_per_server' -> 'RAM per server (GB)'."""
    words = [ACRONYMS.get(word, word) for word in key.split("_")]
    units = [word for word in words if word.startswith("(")]
    text = " ".join([word for word in words if word and not word.startswith("(")] + units)
    return text[:1].upper() + text[1:]


def figure(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Requests per second to the whole, gigabits and gigabytes to a tenth.
        return f"{value:,.0f}" if value >= 100 or value.is_integer() else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(rows: Iterable[Sequence[Any]], indent: str = "  ") -> list[str]:
    """Columns: the first to the left, the others to the right."""
    cells = [[figure(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    lines = []
    for row in cells:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append((indent + "  ".join([first, *others])).rstrip())
    return lines


def report(wanted: Plan, fleet: Mapping[str, Any] | None, paint: Callable[[str, str], str]) -> str:
    """Plan and comparison for people."""
    meta = wanted["metadata"]
    lines = [paint("1", f"BMMS {PHASE}: {meta['moas']:,} MOAs, {meta['expected_users']:,} users ({meta['users_per_moa']:,} per MOA)")]
    for section, title in TITLES.items():
        lines += ["", paint("1", title), *table((label(key), value) for key, value in wanted[section].items())]
    if fleet:
        heading = [("", "plan", "fleet", "short")]
        rows = [(f"{row['tier']}: {row['what']}", row["plan"], row["fleet"], row["short"] or "-") for row in fleet["rows"]]
        lines += ["", paint("1", "The inventory's fleet"), *table([*heading, *rows])]
        short = [row for row in fleet["rows"] if row["short"]]
        lines.append("")
        lines += [paint("31", f"Short: {figure(row['short'])} {row['what']} ({row['tier']})") for row in short] or [paint("32", "Nothing is short.")]
        lines += [paint("31", problem) for problem in fleet["problems"]]
        if fleet["carries_users"] is not None:
            lines.append(f"This fleet carries {fleet['carries_users']:,} users with one application server in reserve.")
        if fleet["unknown_hosts"]:
            lines.append(f"Capacity unknown: {', '.join(fleet['unknown_hosts'])}; run playbooks/preflight.yml once, or declare host_capacity.")
    return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """Errors in one clear line."""

    def error(self, message: str) -> NoReturn:
        fail(message)


def fail(message: str) -> NoReturn:
    print(f"capacity_planning: {message}", file=sys.stderr)
    raise SystemExit(2)


def count(name: str, most: int) -> Callable[[str], int]:
    """A whole number from 1."""

    def parse(text: str) -> int:
        # Only 0-9: int() alone would also take '1_000' and digits of other scripts.
        if not (text.isascii() and text.isdigit()) or len(text) > 12 or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {name}; give a whole number from 1 to {most}")
        return int(text)

    return parse


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="capacity_planning.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--moas", type=count("MOAs", MOST_MOAS), required=True, help="ministries, offices and agencies")
    parser.add_argument("--users", type=count("users", MOST_USERS), required=True, help="users expected")
    parser.add_argument("--inventory", metavar="INV", help="compare with the fleet of this inventory, e.g. inventories/prod")
    parser.add_argument("--export-json", metavar="FILE", help="write the plan to FILE as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(argv)


def declared_fleet(inventory: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Groups and capacities of an inventory: cached facts of its hosts, or what it declares as host_capacity."""
    if not Path(inventory).exists():
        fail(f"inventory {inventory!r} does not exist; give a folder like inventories/prod")
    try:
        from inventory_reader import read_inventory
    except ImportError as error:
        fail(f"--inventory needs Ansible ({error}); run bin/setup, then .venv/bin/python scripts/capacity_planning.py")
    try:
        # Ansible warns about every parser that does not fit; the one reason that counts follows in one line.
        with contextlib.redirect_stderr(io.StringIO()):
            fleet = read_inventory(Path(inventory), PROJECT)
    except Exception as error:  # Ansible's parsers raise many kinds; the reader needs one line that says why
        fail(f"inventory {inventory!r} cannot be read: {' '.join(str(error).split())[:300]}")
    if not fleet.groups.get("all"):
        fail(f"inventory {inventory!r} has no host; give a folder like inventories/prod")
    return fleet.groups, fleet.capacities()


def main(argv: Sequence[str]) -> int:
    options = arguments(argv)
    wanted = plan(options.moas, options.users, datetime.datetime.now(datetime.UTC))
    fleet = compare(wanted, *declared_fleet(options.inventory)) if options.inventory else None
    whole = {**wanted, **({"fleet": fleet} if fleet else {})}
    if options.export_json:
        try:
            Path(options.export_json).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {options.export_json!r}: {error.strerror}; choose another file")
    if options.json:
        print(json.dumps(whole, indent=2))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(report(wanted, fleet, lambda code, text: f"\033[{code}m{text}\033[0m" if colour else text))
        if options.export_json:
            print(f"\nWritten to {options.export_json}")
    return 1 if fleet and (fleet["problems"] or any(row["short"] for row in fleet["rows"])) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
