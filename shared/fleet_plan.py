"""What every host of an inventory will be given: the sizes, with people's overrides on top. Used by preflight and bin/render."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "filter_plugins"))
from celery_sizing import celery_sizing
from gunicorn_sizing import gunicorn_sizing
from host_share import memory_share_mb, parse_host, parse_services
from inventory_rules import services_of
from pgbouncer_sizing import pgbouncer_sizing
from postgres_sizing import postgres_sizing

# Group to the variable in which people override its sizes.
OVERRIDES = {
    "app": "app_settings",
    "celery": "celery_settings",
    "pgbouncer": "pgbouncer_settings",
    "postgres": "postgres_settings",
    "redis": "redis_settings",
    "lb": "nginx_settings",
}


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
    """Input of connection_budget. Hosts whose capacity nobody knows are left out: they are reported by their own rule."""

    def hosts(group: str) -> list[str]:
        return [host for host in groups.get(group) or () if capacities.get(host)]

    services = {host: services_of(host, groups) for host in capacities}
    databases = [{**capacities[host], "services": services[host]} for host in hosts("postgres")]
    poolers = pooler_hosts(groups)
    fleet: dict[str, dict[str, dict[str, Any]]] = {"app": {}, "celery": {}, "pgbouncer": {}, "postgres": {}}
    for host in hosts("postgres"):
        sizes = postgres_sizing(capacities[host], services[host], fleet=databases, poolers=max(1, len(poolers)))
        living = parse_services("preflight", services[host], "postgres")
        share = memory_share_mb("preflight", parse_host("preflight", capacities[host]), living, "postgres")
        fleet["postgres"][host] = {**sizes, **overrides(variables.get(host, {}), "postgres"), "memory_mb": share}
    connections = min((int(each["max_connections"]) for each in fleet["postgres"].values()), default=0)
    for host in hosts("app"):
        fleet["app"][host] = {**gunicorn_sizing(capacities[host], services[host]), **overrides(variables.get(host, {}), "app")}
    for host in hosts("celery"):
        fleet["celery"][host] = {**celery_sizing(capacities[host], services[host]), **overrides(variables.get(host, {}), "celery")}
    for host in poolers:
        if connections and capacities.get(host):
            sizes = pgbouncer_sizing(capacities[host], services[host], poolers=len(poolers), max_connections=connections)
            fleet["pgbouncer"][host] = {**sizes, **overrides(variables.get(host, {}), "pgbouncer")}
    return fleet
