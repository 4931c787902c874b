"""Filter pgbouncer_sizing: pools of one PgBouncer, so that all poolers together fit into any database host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError, parse_services, whole_number

DOCUMENTATION = r"""
name: pgbouncer_sizing
short_description: PgBouncer pools that fit into max_connections together
description:
  - Divides what O(max_connections) leaves after the reserved slots by the number of poolers.
  - Every pooler has a pool to the leader and one to the replicas. Reads fall back to the leader when no replica is there, so
    both pools of all poolers must fit on one host.
positional: _input, host_services
options:
  _input:
    description: C(host_capacity) of the host.
    type: dict
    required: true
  host_services:
    description: Groups of the host.
    type: list
    elements: str
    required: true
  poolers:
    description: PgBouncer instances of the whole fleet.
    type: int
    required: true
  max_connections:
    description: Connections that every database host allows.
    type: int
    required: true
  reserved:
    description: Connections kept for superusers, Patroni, monitoring, migrations, backup and operators.
    type: int
    default: 20
"""

EXAMPLES = r"""
- vars:
    # 6 poolers and 500 connections -> default_pool_size 50, reserve_pool_size 5, replica_pool_size 25
    __pgbouncer_sizing: "{{ host_capacity | pgbouncer_sizing(host_services, poolers=6, max_connections=500) }}"
  ansible.builtin.debug:
    var: __pgbouncer_sizing
"""

RETURN = r"""
_value:
  description:
    - C(max_client_conn), C(default_pool_size), C(reserve_pool_size) and C(max_db_connections) under PgBouncer's own names, for the
      database that follows the leader.
    - C(replica_pool_size) and C(replica_max_db_connections) are the C(pool_size) and C(max_db_connections) of the read-only database.
  type: dict
"""

WHO = "pgbouncer_sizing"

# Facts: 1000 client connections and a pool of 50 per database. PgBouncer's own default pool is 20; a pool above about two
# connections per database CPU does not make a database faster (PostgreSQL wiki, "Number of database connections").
MAX_CLIENT_CONN = 1000
POOL_MAX = 50
# Slots that poolers must leave free: who takes them, and how many.
RESERVED_SLOTS = {
    "superuser_reserved_connections": 3,  # PostgreSQL manual, 19.3.1
    "patroni": 3,  # heartbeat, REST checks, and one while it promotes
    "monitoring": 4,  # postgres_exporter: one per scrape, scrapes may overlap
    "migrations": 4,  # check --deploy, migrate, advisory lock, retry
    "backup": 2,  # pgBackRest: one to the leader, one to the replica (pgBackRest user guide)
    "operators": 4,  # people with psql in the night it breaks
}
RESERVED = sum(RESERVED_SLOTS.values())
# Facts: 50 of the 80 connections that 6 poolers get from 500 go to the leader's pool. PgBouncer documentation,
# reserve_pool_size: extra connections for a burst; a tenth is enough to pass one, which leaves 25 of 80 for reads.
REPLICA_PARTS = (25, 80)
RESERVE_PART = 10
# One connection for each of the two databases, else a pooler cannot serve at all.
LEAST_PER_POOLER = 2


def pgbouncer_sizing(
    host_capacity: Any, host_services: Any, poolers: Any = None, max_connections: Any = None, reserved: Any = RESERVED, **unknown: Any
) -> dict[str, Any]:
    """Pool settings of one pooler; the same on all of them, because each host may carry the whole load alone."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; allowed are poolers, max_connections and reserved")
    del host_capacity  # a pooler needs 2 kB per client (PgBouncer FAQ): no host is too small for it
    parse_services(WHO, host_services)
    count = whole_number(WHO, "poolers", poolers)
    limit = whole_number(WHO, "max_connections", max_connections)
    kept = whole_number(WHO, "reserved", reserved, least=0)
    each = (limit - kept) // count
    if each < LEAST_PER_POOLER:
        needed = count * LEAST_PER_POOLER + kept
        raise SizingError(
            f"{WHO}: {count} poolers x {LEAST_PER_POOLER} + {kept} reserved = {needed} connections, but the database allows {limit}; "
            f"raise postgres_settings.max_connections to {needed} or more"
        )
    # Reads also get what the leader's pool at its largest leaves. Each step is one that more connections never make smaller.
    most = POOL_MAX + POOL_MAX // RESERVE_PART
    replica_pool = min(POOL_MAX, max(1, each * REPLICA_PARTS[0] // REPLICA_PARTS[1], each - most))
    leader = min(most, each - replica_pool)
    reserve = leader // (RESERVE_PART + 1)
    pool = leader - reserve
    return {
        "max_client_conn": MAX_CLIENT_CONN,
        "default_pool_size": pool,
        "reserve_pool_size": reserve,
        "max_db_connections": pool + reserve,
        "replica_pool_size": replica_pool,
        "replica_max_db_connections": replica_pool,
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"pgbouncer_sizing": pgbouncer_sizing}
