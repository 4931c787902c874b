from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import ALL_SERVICES, DISK_GB, HOSTS, MEMORY_MB, VCPUS, at_least, host, megabytes
from host_share import SizingError
from postgres_sizing import postgres_sizing, work_mem

SAME_ON_ALL = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction")


def test_reference_host_has_the_numbers_of_the_facts() -> None:
    assert postgres_sizing(host(8, 16384, 160), ["postgres"], poolers=6) == {
        "shared_buffers": "4096MB",
        "effective_cache_size": "12288MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "512MB",
        "huge_pages": "try",
        "max_connections": 500,
        "superuser_reserved_connections": 3,
        "max_worker_processes": 8,
        "max_parallel_workers": 8,
        "max_parallel_workers_per_gather": 4,
        "max_parallel_maintenance_workers": 4,
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 64,
        "autovacuum_max_workers": 3,
        "wal_buffers": "16MB",
        "min_wal_size": "1024MB",
        "max_wal_size": "4096MB",
        "checkpoint_completion_target": 0.9,
        "random_page_cost": 1.1,
        "effective_io_concurrency": 200,
    }


@pytest.mark.parametrize("reported", [15729, 15800, 16000, 16384])
def test_a_16_gb_machine_counts_as_16_gb_whatever_the_kernel_keeps(reported: int) -> None:
    sizes = postgres_sizing(host(memory_mb=reported), ["postgres"])
    assert (sizes["shared_buffers"], sizes["effective_cache_size"], sizes["max_connections"]) == ("4096MB", "12288MB", 500)


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (
            host(1, 512, 0),
            {
                "shared_buffers": "128MB",
                "effective_cache_size": "384MB",
                "work_mem": "2MB",
                "maintenance_work_mem": "16MB",
                "max_connections": 100,
                "max_worker_processes": 8,
                "max_parallel_workers": 1,
                "max_parallel_workers_per_gather": 0,
                "wal_buffers": "4MB",
                "max_wal_size": "4096MB",
            },
        ),
        (host(2, 2048, 20), {"shared_buffers": "512MB", "work_mem": "10MB", "max_wal_size": "2048MB", "min_wal_size": "512MB"}),
        (host(2, 4096, 2), {"max_connections": 125, "max_wal_size": "256MB", "min_wal_size": "64MB"}),
        (
            host(128, 1048576, 4000),
            {
                "shared_buffers": "262144MB",
                "work_mem": "64MB",
                "maintenance_work_mem": "2048MB",
                "max_connections": 500,
                "max_worker_processes": 128,
                "max_parallel_workers": 128,
                "max_parallel_workers_per_gather": 4,
                "autovacuum_max_workers": 5,
                "max_wal_size": "4096MB",
            },
        ),
        (host(256, 65536, 100), {"max_worker_processes": 128, "max_parallel_workers": 128, "work_mem": "64MB"}),
        (host(39, 32768, 100), {"autovacuum_max_workers": 4, "work_mem": "32MB"}),
    ],
)
def test_small_and_huge_hosts(capacity: dict[str, int], expected: dict[str, Any]) -> None:
    sizes = postgres_sizing(capacity, ["postgres"])
    assert {name: sizes[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("share_mb", "connections", "size"),
    [(12, 100, "64kB"), (199, 100, "1018kB"), (200, 100, "1MB"), (399, 100, "1MB"), (400, 100, "2MB"), (12800, 100, "64MB"), (99999, 100, "64MB")],
)
def test_half_of_the_memory_is_for_sorting(share_mb: int, connections: int, size: str) -> None:
    assert work_mem(share_mb, connections) == size


def test_work_mem_below_a_megabyte_is_given_in_kb() -> None:
    sizes = postgres_sizing(host(1, 512), ["postgres"], poolers=80)
    assert (sizes["max_connections"], sizes["work_mem"]) == (420, "624kB")


def test_poolers_are_promised_connections_that_memory_alone_would_not_give() -> None:
    assert postgres_sizing(host(1, 1024), ["postgres"], poolers=17)["max_connections"] == 105
    assert postgres_sizing(host(1, 1024), ["postgres"], poolers=16)["max_connections"] == 100


def test_every_megabyte_may_carry_a_connection() -> None:
    beside_the_application = host(1, 622)
    assert postgres_sizing(beside_the_application, ["postgres", "app"], poolers=48)["max_connections"] == 260
    with pytest.raises(SizingError) as raised:
        postgres_sizing(beside_the_application, ["postgres", "app"], poolers=49)
    assert str(raised.value) == (
        "postgres_sizing: 49 poolers need max_connections 265, but 260 MB of memory carry 260; give the database hosts 265 MB or more"
    )


def test_the_smallest_member_sets_what_must_be_the_same() -> None:
    fleet = [host(8, 16384), host(16, 8192), host(10, 32768)]
    sizes = [postgres_sizing(member, ["postgres"], fleet=fleet) for member in fleet]
    assert [each["max_connections"] for each in sizes] == [250] * 3
    assert [each["max_worker_processes"] for each in sizes] == [8] * 3
    assert [each["shared_buffers"] for each in sizes] == ["4096MB", "2048MB", "8192MB"]


def test_members_with_other_services_count_with_their_share() -> None:
    alone, shared = host(8, 16384), {**host(8, 16384), "services": ["postgres", "app"]}
    sizes = postgres_sizing(alone, ["postgres"], fleet=[{**alone, "services": ["postgres"]}, shared])
    assert sizes == postgres_sizing(alone, ["postgres"], fleet=[shared]) | {"shared_buffers": "4096MB"}
    assert sizes["max_connections"] < 500
    # Whoever is in the fleet has a database.
    assert sizes == postgres_sizing(alone, ["postgres"], fleet=[{**alone, "services": []}, {**shared, "services": ["app"]}])


def test_services_on_the_host_take_their_share() -> None:
    assert megabytes(postgres_sizing(host(), ["postgres", "app"])["shared_buffers"]) < 4096
    assert postgres_sizing(host(), ["postgres", "backup", "etcd", "dc1"]) == postgres_sizing(host(), ["postgres"])
    assert postgres_sizing(host(), []) == postgres_sizing(host(), ["postgres"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"host_capacity": None},
            "postgres_sizing: host_capacity is None, but must be a dict of vcpus, memory_mb and disk_gb; "
            "run the play through playbooks/preflight.yml, which measures every host",
        ),
        (
            {"host_capacity": {"vcpus": 1}},
            "postgres_sizing: host_capacity lacks memory_mb, disk_gb, but has vcpus; "
            "declare vcpus, memory_mb and disk_gb, or let playbooks/preflight.yml measure the host",
        ),
        (
            {"host_capacity": {}},
            "postgres_sizing: host_capacity lacks vcpus, memory_mb, disk_gb, but has nothing; "
            "declare vcpus, memory_mb and disk_gb, or let playbooks/preflight.yml measure the host",
        ),
        (
            {"host_capacity": host(vcpus=0)},
            "postgres_sizing: host_capacity.vcpus is 0, but must be a whole number of 1 or more; correct it",
        ),
        (
            {"host_capacity": host(memory_mb=0)},
            "postgres_sizing: host_capacity.memory_mb is 0, but must be a whole number of 1 or more; correct it",
        ),
        (
            {"host_capacity": host(disk_gb=-1)},
            "postgres_sizing: host_capacity.disk_gb is -1, but must be a whole number of 0 or more; correct it",
        ),
        (
            {"host_capacity": host(memory_mb=511)},
            "postgres_sizing: the host has 511 MB of memory, but at least 512 MB are needed; give it 512 MB or more",
        ),
        (
            {"host_services": "postgres"},
            "postgres_sizing: host_services is 'postgres', but must be a list of group names; pass group_names",
        ),
        (
            {"fleet": []},
            "postgres_sizing: fleet is empty, but must hold host_capacity of every member; add a host to the group postgres",
        ),
        (
            {"fleet": [{**host(), "services": "postgres"}]},
            "postgres_sizing: host_services is 'postgres', but must be a list of group names; pass group_names",
        ),
        (
            {"fleet": [host(), {**host(memory_mb=512), "services": ["app"]}]},
            "postgres_sizing: app + postgres need 614 MB together, but the host has 512 MB; give it 614 MB or move a service to another host",
        ),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["app"], "fleet": [{**host(), "services": []}]},
            "postgres_sizing: app + postgres need 614 MB together, but the host has 512 MB; give it 614 MB or move a service to another host",
        ),
        (
            {"fleet": host()},
            f"postgres_sizing: fleet is {host()!r}, but must be a list of host_capacity dicts; pass that of every member",
        ),
        ({"poolers": 0}, "postgres_sizing: poolers is 0, but must be a whole number of 1 or more; correct it"),
        ({"poolers": True}, "postgres_sizing: poolers is True, but must be a whole number of 1 or more; correct it"),
        ({"poolers": "six"}, "postgres_sizing: poolers is 'six', but must be a whole number of 1 or more; correct it"),
        (
            {"connections": 1, "bananas": 2},
            "postgres_sizing: unknown argument bananas, connections; allowed are fleet and poolers",
        ),
        (
            {"host_capacity": host(memory_mb=1024), "host_services": ALL_SERVICES},
            "postgres_sizing: app + backup + celery + etcd + lb + monitoring + postgres + redis + sentinel need 1532 MB together, "
            "but the host has 1024 MB; give it 1532 MB or move a service to another host",
        ),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["postgres", "redis", "backup", "lb"], "poolers": 60},
            "postgres_sizing: 60 poolers need max_connections 320, but 285 MB of memory carry 285; give the database hosts 320 MB or more",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        postgres_sizing(**{"host_capacity": host(), "host_services": ["postgres"], **arguments})
    assert str(raised.value) == message


def test_text_from_extra_vars_counts_as_numbers() -> None:
    assert postgres_sizing({"vcpus": "8", "memory_mb": " 16384", "disk_gb": "160"}, ["postgres"], poolers="6") == postgres_sizing(
        host(), ["postgres"], poolers=6
    )


@given(HOSTS, st.integers(1, 73))
def test_memory_given_out_never_exceeds_the_host(capacity: dict[str, int], poolers: int) -> None:
    sizes = postgres_sizing(capacity, ["postgres"], poolers=poolers)
    given_out = (
        megabytes(sizes["shared_buffers"])
        + megabytes(sizes["wal_buffers"])
        + sizes["max_connections"] * megabytes(sizes["work_mem"])
        + sizes["autovacuum_max_workers"] * megabytes(sizes["maintenance_work_mem"])
    )
    assert given_out <= capacity["memory_mb"]


@given(VCPUS, MEMORY_MB, DISK_GB, st.integers(0, 64), st.integers(0, 65536), st.integers(1, 73))
def test_more_host_never_gives_less(vcpus: int, memory: int, disk: int, more_vcpus: int, more_memory: int, poolers: int) -> None:
    smaller = postgres_sizing(host(vcpus, memory, max(1, disk)), ["postgres"], poolers=poolers)
    larger = postgres_sizing(host(vcpus + more_vcpus, memory + more_memory, max(1, disk) + 50), ["postgres"], poolers=poolers)
    assert not at_least(larger, smaller)


@given(st.lists(HOSTS, min_size=1, max_size=5), st.integers(1, 73))
def test_any_member_may_lead(fleet: list[dict[str, int]], poolers: int) -> None:
    sizes = [postgres_sizing(member, ["postgres"], fleet=fleet, poolers=poolers) for member in fleet]
    for name in SAME_ON_ALL:
        assert len({each[name] for each in sizes}) == 1


@given(HOSTS)
def test_settings_are_consistent_in_themselves(capacity: dict[str, int]) -> None:
    sizes = postgres_sizing(capacity, ["postgres"])
    assert megabytes(sizes["shared_buffers"]) < megabytes(sizes["effective_cache_size"])
    assert 64 <= megabytes(sizes["min_wal_size"]) < megabytes(sizes["max_wal_size"]) <= 4096
    assert sizes["max_parallel_workers_per_gather"] <= sizes["max_parallel_workers"] <= sizes["max_worker_processes"]
    assert megabytes(sizes["work_mem"]) >= 64 / 1024
    assert 100 <= sizes["max_connections"] <= 500
