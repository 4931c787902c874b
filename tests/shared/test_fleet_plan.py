"""The plan of a fleet, as preflight and bin/render make it, whatever lives on which host."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from connection_budget import connection_budget
from fleet_plan import plan_fleet
from host_share import SERVICES, SizingError

CAPACITIES = st.fixed_dictionaries({"vcpus": st.integers(1, 256), "memory_mb": st.integers(512, 2 * 1024 * 1024), "disk_gb": st.integers(0, 16384)})
# Name of a host's kind to the services on it: each alone, and as small teams put them together.
KINDS = [
    *({name} for name in sorted(SERVICES)),
    {"app", "celery"},
    {"redis", "sentinel", "etcd"},
    {"lb", "app"},
    {"postgres", "backup"},
    set(SERVICES),
]
HOSTS = st.lists(st.tuples(st.sampled_from(KINDS), CAPACITIES), min_size=1, max_size=24)
SAME = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction")


def planned(hosts: list[tuple[set[str], dict[str, int]]]) -> dict[str, dict[str, dict[str, Any]]]:
    named = {f"h{number}": each for number, each in enumerate(hosts)}
    groups = {name: [host for host, (services, _) in named.items() if name in services] for name in SERVICES}
    return plan_fleet(groups, {host: capacity for host, (_, capacity) in named.items()}, {})


def planned_or_refused(hosts: list[tuple[set[str], dict[str, int]]]) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        return planned(hosts)
    except SizingError:
        assume(False)  # a host too small for what lives on it is refused, by a message of its own
        raise


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(HOSTS)
def test_every_fleet_of_defaults_keeps_its_budget(hosts: list[tuple[set[str], dict[str, int]]]) -> None:
    fleet = planned_or_refused(hosts)
    assume(fleet["postgres"])
    budget = connection_budget(fleet)
    assert budget["problems"] == []
    for name in SAME:
        assert len({sizes[name] for sizes in fleet["postgres"].values()}) == 1


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(HOSTS, st.integers(0, 64), st.integers(0, 65536))
def test_larger_hosts_never_get_less(hosts: list[tuple[set[str], dict[str, int]]], vcpus: int, memory: int) -> None:
    smaller = planned_or_refused(hosts)
    grown = [(services, {**each, "vcpus": each["vcpus"] + vcpus, "memory_mb": each["memory_mb"] + memory}) for services, each in hosts]
    larger = planned(grown)
    for tier in ("app", "celery", "pgbouncer"):
        for host, sizes in smaller[tier].items():
            worse = {
                name: (value, larger[tier][host][name])
                for name, value in sizes.items()
                if isinstance(value, int) and larger[tier][host][name] < value
            }
            assert not worse
    for host, sizes in smaller["postgres"].items():
        assert larger["postgres"][host]["memory_mb"] >= sizes["memory_mb"]
        assert larger["postgres"][host]["max_connections"] >= sizes["max_connections"]
