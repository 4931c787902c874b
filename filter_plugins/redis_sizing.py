"""Filter redis_sizing: Redis memory, clients and I/O threads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError, memory_share_mb, parse_host, parse_services

DOCUMENTATION = r"""
name: redis_sizing
short_description: Redis settings that fit the host
description:
  - Half of the memory is for data. The other half is for the copy that a fork for RDB or an AOF rewrite may need in the worst case
    (every page written meanwhile), for client and replication buffers, and for Sentinel and etcd on the same host.
  - The reference host of the facts, 8 GB of data, is therefore a host of 16 GB.
positional: _input, host_services
options:
  _input:
    description: C(host_capacity) of the host.
    type: dict
    required: true
  host_services:
    description: Groups of the host; services on the same host share its memory.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- vars:
    # {vcpus: 8, memory_mb: 16384, disk_gb: 80} -> maxmemory 8gb, io-threads 4
    __redis_sizing: "{{ host_capacity | redis_sizing(host_services) }}"
  ansible.builtin.debug:
    var: __redis_sizing
"""

RETURN = r"""
_value:
  description: Setting names and values for redis.conf.
  type: dict
"""

WHO = "redis_sizing"

# Redis documentation, Administration: "if you deploy Redis using AOF or RDB, it may use up to 2 times the memory normally used".
DATA_PART = 2
# On a small host the system, Sentinel and etcd take more than half of it: then data gets 60 % of what they leave, a quarter at least.
BESIDE_MB = 512
REST_PERCENT = 60
LEAST_PART = 4
# redis.conf, THREADED I/O: only with at least 4 cores, leaving one spare; facts: 4 threads.
IO_THREADS_FROM_VCPUS = 4
IO_THREADS_MAX = 4
# redis.conf: default 10000 clients; a client's buffers may reach 20 kB, so a small host takes fewer.
CLIENTS_MAX = 10000
CLIENTS_PER_MB = 8
# redis.conf: 1 MB is the default; 1/16 of the data lets a replica be away for a minute without a full copy.
BACKLOG_PART = 16
BACKLOG_MAX_MB = 256


def in_redis_units(megabytes: int) -> str:
    """8gb, not 8192mb, because that is how people compare it with the order."""
    return f"{megabytes // 1024}gb" if megabytes % 1024 == 0 else f"{megabytes}mb"


def redis_sizing(host_capacity: Any, host_services: Any, **unknown: Any) -> dict[str, Any]:
    """Settings for one Redis host."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes host_services only")
    host = parse_host(WHO, host_capacity)
    share = memory_share_mb(WHO, host, parse_services(WHO, host_services, "redis"), "redis")
    data = min(share // DATA_PART, max(share // LEAST_PART, (share - BESIDE_MB) * REST_PERCENT // 100))
    threads = min(IO_THREADS_MAX, host.vcpus - 1) if host.vcpus >= IO_THREADS_FROM_VCPUS else 1
    return {
        "maxmemory": in_redis_units(data),
        "maxmemory-policy": "allkeys-lru",  # facts
        "maxclients": min(CLIENTS_MAX, share * CLIENTS_PER_MB),
        "io-threads": threads,
        "repl-backlog-size": f"{max(1, min(BACKLOG_MAX_MB, data // BACKLOG_PART))}mb",
        "tcp-backlog": 511,  # redis.conf: default; kernel_sizing sets net.core.somaxconn above it
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"redis_sizing": redis_sizing}
