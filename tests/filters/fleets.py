"""What the filter tests need to describe hosts and fleets."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pgbouncer_sizing import pgbouncer_sizing
from postgres_sizing import postgres_sizing

ALL_SERVICES = ["lb", "app", "celery", "postgres", "redis", "sentinel", "etcd", "monitoring", "backup"]
VCPUS = st.integers(1, 256)
MEMORY_MB = st.integers(512, 2 * 1024 * 1024)
DISK_GB = st.integers(0, 16384)
CACHE_HOST = ["redis", "sentinel", "etcd"]


def host(vcpus: int = 8, memory_mb: int = 16384, disk_gb: int = 160) -> dict[str, int]:
    return {"vcpus": vcpus, "memory_mb": memory_mb, "disk_gb": disk_gb}


HOSTS = st.builds(host, VCPUS, MEMORY_MB, DISK_GB)


def megabytes(value: Any) -> float:
    """MB of '4096MB', '64kB', '8gb'."""
    text = str(value).lower()
    number = float("".join(character for character in text if character.isdigit()))
    return number * {"kb": 1 / 1024, "mb": 1, "gb": 1024}[text.lstrip("0123456789")]


def at_least(larger: dict[str, Any], smaller: dict[str, Any]) -> list[str]:
    """Settings that got less although the host got more."""
    worse = []
    for name, value in smaller.items():
        if isinstance(value, str) and value[:1].isdigit() and value[-1:].lower() == "b":
            if megabytes(larger[name]) < megabytes(value):
                worse.append(f"{name}: {value} -> {larger[name]}")
        elif isinstance(value, (int, float)) and larger[name] < value:
            worse.append(f"{name}: {value} -> {larger[name]}")
    return worse


def default_fleet(databases: list[dict[str, int]], applications: list[dict[str, Any]], workers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A fleet as the roles would render it with no override at all."""
    poolers = len(applications) + len(workers)
    postgres = {
        f"db{number}": {**postgres_sizing(each, ["postgres"], fleet=databases, poolers=poolers), "memory_mb": each["memory_mb"]}
        for number, each in enumerate(databases, 1)
    }
    connections = postgres["db1"]["max_connections"]
    app = {f"web{number}": settings for number, settings in enumerate(applications, 1)}
    celery = {f"worker{number}": settings for number, settings in enumerate(workers, 1)}
    pgbouncer = {name: pgbouncer_sizing(host(), ["app"], poolers=poolers, max_connections=connections) for name in [*app, *celery]}
    return {"app": app, "celery": celery, "pgbouncer": pgbouncer, "postgres": postgres}
