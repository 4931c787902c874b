"""What every host of an inventory will be given: the sizes, with people's overrides on top. Used by preflight and bin/render."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "filter_plugins"))
from celery_sizing import celery_sizing
from gunicorn_sizing import gunicorn_sizing
from host_share import SizingError, memory_share_mb, parse_host, parse_services, whole_number
from inventory_rules import services_of
from nginx_sizing import nginx_sizing
from pgbouncer_sizing import RESERVED, pgbouncer_sizing
from postgres_sizing import postgres_sizing
from redis_sizing import redis_sizing

# Group to the variable in which people override its sizes.
OVERRIDES = {
    "app": "app_settings",
    "celery": "celery_settings",
    "pgbouncer": "pgbouncer_settings",
    "postgres": "postgres_settings",
    "redis": "redis_settings",
    "lb": "nginx_settings",
}
# Accounts that come through the poolers, each with pools of its own: the application, and people's and reports' reads.
POOLER_USERS = ("application", "readonly")


def pooler_hosts(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Hosts with a PgBouncer of their own."""
    return list(dict.fromkeys([*(groups.get("app") or ()), *(groups.get("celery") or ())]))


def overrides(variables: Mapping[str, Any], service: str) -> Mapping[str, Any]:
    """The dict of overrides of one host; what is no dict is reported by its own rule."""
    value = variables.get(OVERRIDES[service])
    return value if isinstance(value, Mapping) else {}


def plan_fleet(
    groups: Mapping[str, Sequence[str]], capacities: Mapping[str, Any], variables: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Sizes of every tier, by host; those of the connection budget among them.

    Hosts whose capacity nobody knows are left out: they are reported by their own rule.
    """

    def hosts(group: str) -> list[str]:
        return [host for host in groups.get(group) or () if capacities.get(host)]

    services = {host: services_of(host, groups) for host in capacities}
    databases = [{**capacities[host], "services": services[host]} for host in hosts("postgres")]
    poolers = pooler_hosts(groups)

    def sized(host: str, service: str, function: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        try:
            sizes = function(capacities[host], services[host], **arguments)
        except SizingError as error:
            raise SizingError(f"{host}: {error}") from error
        return {**sizes, **overrides(variables.get(host, {}), service)}

    fleet: dict[str, dict[str, dict[str, Any]]] = {"app": {}, "celery": {}, "pgbouncer": {}, "postgres": {}, "redis": {}, "lb": {}}
    for host in hosts("postgres"):
        sizes = sized(host, "postgres", postgres_sizing, fleet=databases, poolers=max(1, len(poolers)))
        living = parse_services("preflight", services[host], "postgres")
        share = memory_share_mb("preflight", parse_host("preflight", capacities[host]), living, "postgres")
        fleet["postgres"][host] = {**sizes, "memory_mb": share}
    for host in hosts("app"):
        fleet["app"][host] = sized(host, "app", gunicorn_sizing)
    for host in hosts("celery"):
        fleet["celery"][host] = sized(host, "celery", celery_sizing)
    for host in hosts("redis"):
        fleet["redis"][host] = sized(host, "redis", redis_sizing)
    for host in hosts("lb"):
        fleet["lb"][host] = sized(host, "lb", nginx_sizing)
    limits = [whole_number(host, "postgres_settings.max_connections", each["max_connections"]) for host, each in fleet["postgres"].items()]
    users = {name: dict[str, Any]() for name in POOLER_USERS}
    for host in poolers if limits else ():
        if capacities.get(host):
            kept = variables.get(host, {}).get("pgbouncer_reserved_connections")
            reserved = RESERVED if kept is None else kept
            sizes = sized(host, "pgbouncer", pgbouncer_sizing, poolers=len(poolers), max_connections=min(limits), reserved=reserved)
            fleet["pgbouncer"][host] = {"users": users, **sizes}
    return fleet
