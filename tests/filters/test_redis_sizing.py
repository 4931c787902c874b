from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import CACHE_HOST, HOSTS, MEMORY_MB, VCPUS, at_least, host, megabytes
from host_share import SizingError
from redis_sizing import redis_sizing


def test_a_16_gb_cache_host_holds_the_8_gb_of_the_facts() -> None:
    assert redis_sizing(host(8, 16384), CACHE_HOST) == {
        "maxmemory": "8gb",
        "maxmemory-policy": "allkeys-lru",
        "maxclients": 10000,
        "io-threads": 4,
        "repl-backlog-size": "256mb",
        "tcp-backlog": 511,
    }


@pytest.mark.parametrize(
    ("memory", "data"),
    [
        (512, "112mb"),
        (768, "178mb"),
        (1024, "278mb"),
        (2048, "912mb"),
        (4096, "2gb"),
        (2900, "1432mb"),
        (2949, "1462mb"),
        (2950, "1536mb"),
        (1048576, "512gb"),
    ],
)
def test_data_memory(memory: int, data: str) -> None:
    assert redis_sizing(host(memory_mb=memory), CACHE_HOST)["maxmemory"] == data


@pytest.mark.parametrize(("vcpus", "threads"), [(1, 1), (2, 1), (3, 1), (4, 3), (5, 4), (8, 4), (128, 4)])
def test_io_threads_leave_a_core_free(vcpus: int, threads: int) -> None:
    assert redis_sizing(host(vcpus), CACHE_HOST)["io-threads"] == threads


def test_small_hosts_take_fewer_clients_and_a_smaller_backlog() -> None:
    sizes = redis_sizing(host(1, 512), CACHE_HOST)
    assert (sizes["maxclients"], sizes["repl-backlog-size"]) == (3584, "7mb")


def test_with_many_services_a_tiny_share_still_has_a_backlog() -> None:
    sizes = redis_sizing(host(1, 1540), ["redis", "app", "celery", "postgres", "monitoring", "lb"])
    assert (sizes["maxmemory"], sizes["repl-backlog-size"], sizes["maxclients"]) == ("30mb", "1mb", 960)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maxmemory": "1gb"}, "redis_sizing: unknown argument maxmemory; it takes host_services only"),
        ({"host_services": 5}, "redis_sizing: host_services is 5, but must be a list of group names; pass group_names"),
        (
            {"host_capacity": host(vcpus="x")},  # type: ignore[arg-type]
            "redis_sizing: host_capacity.vcpus is 'x', but must be a whole number of 1 or more; correct it",
        ),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["app", "etcd"]},
            "redis_sizing: app + etcd + redis need 518 MB together, but the host has 512 MB; give it 518 MB or move a service to another host",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        redis_sizing(**{"host_capacity": host(), "host_services": ["redis"], **arguments})
    assert str(raised.value) == message


@given(HOSTS)
def test_data_and_its_copy_fit(capacity: dict[str, int]) -> None:
    # 4 %: a host sold as 16 GB reports a little less, and sizes follow what was sold.
    assert megabytes(redis_sizing(capacity, CACHE_HOST)["maxmemory"]) * 2 <= capacity["memory_mb"] * 1.042


@given(VCPUS, MEMORY_MB, st.integers(0, 64), st.integers(0, 65536))
def test_more_host_never_gives_less(vcpus: int, memory: int, more_vcpus: int, more_memory: int) -> None:
    smaller = redis_sizing(host(vcpus, memory), CACHE_HOST)
    larger = redis_sizing(host(vcpus + more_vcpus, memory + more_memory), CACHE_HOST)
    assert not at_least(larger, smaller)
