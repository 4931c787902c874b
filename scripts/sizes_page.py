#!/usr/bin/env python3
"""Writes docs/sizes.md: what the sizing filters make of typical hosts. Exit status 1 with --check when the page is not up to date."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "filter_plugins"), str(PROJECT / "shared")]
from host_share import SERVICES as ALL_SERVICES  # noqa: E402  # after the path is set

PAGE = PROJECT / "docs" / "sizes.md"

SMALLEST = "1 / 1"
# vCPUs, memory in MB, disk in GB.
HOSTS = {
    SMALLEST: (1, 1024, 20),
    "2 / 4": (2, 4096, 50),
    "4 / 8": (4, 8192, 100),
    "8 / 16": (8, 16384, 200),
    "16 / 64": (16, 65536, 500),
    "128 / 1024": (128, 1024 * 1024, 4000),
}
# Service: its filter, its group, what else the filter asks for, and the settings worth a row.
SERVICES: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "PostgreSQL": (
        "postgres_sizing", "postgres", {"poolers": 6},
        ("max_connections", "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_worker_processes",
         "max_parallel_workers_per_gather"),
    ),
    "gunicorn": ("gunicorn_sizing", "app", {}, ("workers", "threads")),
    "Celery": ("celery_sizing", "celery", {}, ("concurrency",)),
    "Redis": ("redis_sizing", "redis", {}, ("maxmemory", "io-threads")),
    "nginx": ("nginx_sizing", "lb", {}, ("worker_processes", "worker_connections")),
}  # fmt: skip
HEAD = """# Sizes

Written by `scripts/sizes_page.py` from `filter_plugins/*_sizing.py`; each constant there names its source. Nobody types these
numbers in: a role hands its host's capacity to its filter, and `bin/render INVENTORY` shows the result for every host before one is touched.

- Memory is the smaller of what the kernel says and what the control group allows. A host that runs several services shares it among them.
- Override one value with the dict of its service, for example `postgres_settings: {work_mem: 32MB}`. The connection budget is computed with it.
- The reference hosts are a web host with 8 cores (17 workers x 2 threads) and a database host with 16 GB.

## One service on a host of its own

Hosts are vCPUs / GB of memory. Sizes in kB, MB and GB are PostgreSQL's and Redis' own units.

"""
TAIL = """
## A host that runs everything

1 GB is too little for all services together; the filters refuse it and say how much is needed.

"""
BUDGET = """
## The connection budget

One sum over the whole fleet, from what will really be rendered (`filter_plugins/connection_budget.py`). Every run checks it before it changes a host:

1. What gunicorn (workers x threads x databases) and Celery can open on a host is at most `max_client_conn` of its PgBouncer.
2. All pools of all PgBouncers, the leader's and the replicas' together (reads fall back to the leader), fit into `max_connections` less the reserved
   slots, on every host that may become the leader.
3. `max_connections` x `work_mem` + `shared_buffers` fit into the memory that PostgreSQL has on that host.

A sum that does not fit stops the run and is printed with the setting to change and a value that does fit:
`ansible-playbook playbooks/preflight.yml -i inventories/prod` shows the whole table at any time. `bin/prove pooling` holds real PgBouncers to it.
"""


def sized(service: str, capacity: tuple[int, int, int], services: Sequence[str]) -> Mapping[str, Any]:
    """What the filter of a service makes of a host."""
    name, _, more, _ = SERVICES[service]
    host = dict(zip(("vcpus", "memory_mb", "disk_gb"), capacity, strict=True))
    found: Mapping[str, Any] = getattr(importlib.import_module(name), name)(host, services, **more)
    return found


def table(columns: Mapping[str, tuple[int, int, int]], together: bool) -> str:
    """Markdown: a row per setting, a column per host."""
    lines = ["| setting | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    groups = sorted(ALL_SERVICES)
    for service, (_, group, _, settings) in SERVICES.items():
        found = [sized(service, capacity, groups if together else [group]) for capacity in columns.values()]
        lines += [f"| {service} `{setting}` | " + " | ".join(str(each[setting]) for each in found) + " |" for setting in settings]
    return "\n".join(lines) + "\n"


def page() -> str:
    return (
        HEAD + table(HOSTS, together=False) + TAIL + table({name: host for name, host in HOSTS.items() if name != SMALLEST}, together=True) + BUDGET
    )


def main(argv: Sequence[str]) -> int:
    if argv == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page() else 1
    if argv:
        print("usage: scripts/sizes_page.py [--check]", file=sys.stderr)
        return 2
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
