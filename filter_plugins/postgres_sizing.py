"""Filter postgres_sizing: PostgreSQL memory, WAL, worker and connection settings from what the host may use."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import Host, SizingError, memory_share_mb, parse_host, parse_services, whole_number

DOCUMENTATION = r"""
name: postgres_sizing
short_description: PostgreSQL settings that fit the host
description:
  - Returns settings under PostgreSQL's own names, memory in PostgreSQL's units.
  - Settings that a standby may not have lower than its primary (C(max_connections), C(max_worker_processes) and their kin) come
    from the smallest host in O(fleet), so they are the same on all members and any member may lead.
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
  fleet:
    description: C(host_capacity) of every PostgreSQL host. An entry may carry C(services), its own list of groups.
    type: list
    elements: dict
  poolers:
    description: PgBouncer instances of the fleet; each of them is promised a few connections, also by small hosts.
    type: int
    default: 1
"""

EXAMPLES = r"""
- vars:
    # {vcpus: 8, memory_mb: 16384, disk_gb: 160} -> shared_buffers 4096MB, effective_cache_size 12288MB, max_connections 500
    __postgres_sizing: "{{ host_capacity | postgres_sizing(host_services, fleet=database_capacities, poolers=6) }}"
  ansible.builtin.debug:
    var: __postgres_sizing
"""

RETURN = r"""
_value:
  description: Setting names and values for postgresql.conf, or for Patroni's parameters.
  type: dict
"""

WHO = "postgres_sizing"

# 25 % and 75 % of memory: PostgreSQL 17 manual, 19.4.1 shared_buffers ("a reasonable starting value is 25 %") and
# 19.7.2 effective_cache_size with PGTune's figure; facts: 4 and 12 GB of 16 GB.
SHARED_BUFFERS_PART = 4
EFFECTIVE_CACHE_PARTS = (3, 4)
# Facts: 512 MB of 16 GB. PGTune gives 1/16, but autovacuum workers take it each (manual, 19.4.1 autovacuum_work_mem).
MAINTENANCE_PART = 32
MAINTENANCE_MAX_MB = 2048
MAINTENANCE_MIN_MB = 16
# Facts: 500 connections at 16 GB, which is also the planner's recommended figure and the ceiling.
CONNECTIONS_AT_REFERENCE = 500
REFERENCE_MEMORY_MB = 16384
# PostgreSQL's own default (manual, 19.3.1); below it tools and poolers run short even on the smallest host.
CONNECTIONS_MIN = 100
# Half of the memory for sorts and hashes, all connections at once: with 25 % shared buffers and at most 16 % for
# autovacuum, the sum stays below the host's memory. Facts: 16 MB at 500 connections and 16 GB.
WORK_MEM_PART = 2
# hash_mem_multiplier doubles it and a plan has several nodes (manual, 19.4.1): more than this per node is for reporting.
WORK_MEM_MAX_MB = 64
WORK_MEM_MIN_KB = 64  # PostgreSQL's minimum (manual, 19.4.1)
# Manual, 19.5.1 wal_buffers: 1/32 of shared_buffers, at most one WAL segment of 16 MB.
WAL_BUFFERS_PART = 32
WAL_SEGMENT_MB = 16
# Facts: 1 and 4 GB; a small disk keeps a tenth of itself for WAL. Manual, 19.5.3: at least two segments.
MAX_WAL_MB = 4096
WAL_DISK_PART = 10
MIN_WAL_PART = 4
WAL_FLOOR_MB = 256
# Manual, 19.4.6: default 8 processes; PGTune: one per CPU, half of them per gather, at most 4 outside warehouses.
WORKER_PROCESSES_MIN = 8
WORKER_PROCESSES_MAX = 128
PER_GATHER_MAX = 4
# Manual, 19.10: default 3. Each may hold maintenance_work_mem, 1/32 of memory, hence no more than 5.
AUTOVACUUM_MIN = 3
AUTOVACUUM_MAX = 5
VCPUS_PER_AUTOVACUUM_WORKER = 8
# Manual, 19.3.1: default.
SUPERUSER_RESERVED = 3
# Connections that do not come from poolers, see pgbouncer_sizing.RESERVED, and what every pooler is promised at least.
RESERVED = 20
LEAST_PER_POOLER = 5
# Below this much memory per possible connection even idle backends fill the host (about 2 MB each: Citus, "Measuring
# the memory overhead of a Postgres connection", 2020, with huge pages off 4 MB, half of them active).
LEAST_MB_PER_CONNECTION = 1


def connections_for(share_mb: int, poolers: int) -> int:
    """Connections that one host's memory carries."""
    by_memory = share_mb * CONNECTIONS_AT_REFERENCE // REFERENCE_MEMORY_MB
    wanted = min(CONNECTIONS_AT_REFERENCE, max(CONNECTIONS_MIN, by_memory, RESERVED + poolers * LEAST_PER_POOLER))
    carried = share_mb // LEAST_MB_PER_CONNECTION
    if wanted > carried:
        raise SizingError(
            f"{WHO}: {poolers} poolers need max_connections {wanted}, but {share_mb} MB of memory carry {carried}; "
            f"give the database hosts {wanted * LEAST_MB_PER_CONNECTION} MB or more"
        )
    return wanted


def parse_fleet(fleet: Any, host: Host, services: frozenset[str]) -> list[tuple[Host, int]]:
    """Every member with its memory share; without a fleet the host stands alone."""
    if fleet is None:
        return [(host, memory_share_mb(WHO, host, services, "postgres"))]
    if isinstance(fleet, (str, Mapping)) or not isinstance(fleet, Iterable):
        raise SizingError(f"{WHO}: fleet is {fleet!r}, but must be a list of host_capacity dicts; pass that of every member")
    members = []
    for entry in fleet:
        member = parse_host(WHO, entry)
        living = parse_services(WHO, entry.get("services", sorted(services)), "postgres")
        members.append((member, memory_share_mb(WHO, member, living, "postgres")))
    if not members:
        raise SizingError(f"{WHO}: fleet is empty, but must hold host_capacity of every member; add a host to the group postgres")
    return members


def work_mem(share_mb: int, connections: int) -> str:
    """Half the memory over all connections; whole MB where it reaches one, else kB."""
    kilobytes = share_mb * 1024 // WORK_MEM_PART // connections
    if kilobytes >= 1024:
        return f"{min(WORK_MEM_MAX_MB, kilobytes // 1024)}MB"
    return f"{max(WORK_MEM_MIN_KB, kilobytes)}kB"


def wal_sizes(disk_gb: int) -> tuple[int, int]:
    """min_wal_size and max_wal_size in MB. An unknown disk (0) is taken as large: most are."""
    by_disk = disk_gb * 1024 // WAL_DISK_PART if disk_gb else MAX_WAL_MB
    largest = max(WAL_FLOOR_MB, min(MAX_WAL_MB, by_disk))
    return largest // MIN_WAL_PART, largest


def postgres_sizing(host_capacity: Any, host_services: Any, fleet: Any = None, poolers: Any = 1, **unknown: Any) -> dict[str, Any]:
    """Settings for one PostgreSQL host."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; allowed are fleet and poolers")
    host = parse_host(WHO, host_capacity)
    services = parse_services(WHO, host_services, "postgres")
    pooler_count = whole_number(WHO, "poolers", poolers)
    members = parse_fleet(fleet, host, services)
    share = memory_share_mb(WHO, host, services, "postgres")
    connections = min(connections_for(member_share, pooler_count) for _, member_share in members)
    vcpus = min(member.vcpus for member, _ in members)
    parallel = min(PER_GATHER_MAX, vcpus // 2)
    shared_buffers = share // SHARED_BUFFERS_PART
    min_wal, max_wal = wal_sizes(host.disk_gb)
    return {
        "shared_buffers": f"{shared_buffers}MB",
        "effective_cache_size": f"{share * EFFECTIVE_CACHE_PARTS[0] // EFFECTIVE_CACHE_PARTS[1]}MB",
        "work_mem": work_mem(share, connections),
        "maintenance_work_mem": f"{max(MAINTENANCE_MIN_MB, min(MAINTENANCE_MAX_MB, share // MAINTENANCE_PART))}MB",
        "huge_pages": "try",  # manual, 19.4.1: used where the kernel has them, never a reason not to start
        "max_connections": connections,
        "superuser_reserved_connections": SUPERUSER_RESERVED,
        "max_worker_processes": min(WORKER_PROCESSES_MAX, max(WORKER_PROCESSES_MIN, vcpus)),
        "max_parallel_workers": min(WORKER_PROCESSES_MAX, vcpus),
        "max_parallel_workers_per_gather": parallel,
        "max_parallel_maintenance_workers": parallel,
        "max_wal_senders": 10,  # manual, 19.6.1: default; two replicas, backups and rejoining members need fewer
        "max_replication_slots": 10,  # manual, 19.6.1: default
        "max_prepared_transactions": 0,  # manual, 19.4.1: default; Django uses none
        "max_locks_per_transaction": 64,  # manual, 19.12: default
        "autovacuum_max_workers": min(AUTOVACUUM_MAX, max(AUTOVACUUM_MIN, host.vcpus // VCPUS_PER_AUTOVACUUM_WORKER)),
        "wal_buffers": f"{min(WAL_SEGMENT_MB, shared_buffers // WAL_BUFFERS_PART)}MB",
        "min_wal_size": f"{min_wal}MB",
        "max_wal_size": f"{max_wal}MB",
        "checkpoint_completion_target": 0.9,  # facts; manual, 19.5.2: default
        "random_page_cost": 1.1,  # facts; PGTune for SSD
        "effective_io_concurrency": 200,  # facts; PGTune for SSD
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"postgres_sizing": postgres_sizing}
