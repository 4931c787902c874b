from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import HOSTS, MEMORY_MB, VCPUS, at_least, host
from gunicorn_sizing import gunicorn_sizing
from host_share import SizingError


def test_an_8_core_web_host_has_17_workers_with_2_threads() -> None:
    assert gunicorn_sizing(host(8, 8192), ["app"]) == {
        "workers": 17,
        "threads": 2,
        "timeout": 120,
        "graceful_timeout": 30,
        "max_requests": 1000,
        "max_requests_jitter": 100,
        "keepalive": 0,
        "backlog": 2048,
    }


@pytest.mark.parametrize(
    ("vcpus", "memory", "workers"),
    [(1, 512, 1), (1, 1024, 2), (2, 768, 2), (2, 1536, 4), (2, 2048, 5), (8, 5774, 17), (8, 5773, 16), (32, 65536, 65), (128, 1048576, 65)],
)
def test_workers_by_cpu_and_memory(vcpus: int, memory: int, workers: int) -> None:
    assert gunicorn_sizing(host(vcpus, memory), ["app"])["workers"] == workers


def test_other_services_on_the_host_leave_less_memory() -> None:
    assert gunicorn_sizing(host(8, 8192), ["app", "postgres"])["workers"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 3}, "gunicorn_sizing: unknown argument workers; it takes host_services only"),
        (
            {"host_capacity": host(memory_mb=100)},
            "gunicorn_sizing: the host has 100 MB of memory, but at least 512 MB are needed; give it 512 MB or more",
        ),
        ({"host_services": None}, "gunicorn_sizing: host_services is None, but must be a list of group names; pass group_names"),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["app", "celery"]},
            "gunicorn_sizing: app + celery need 716 MB together, but the host has 512 MB; give it 716 MB or move a service to another host",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        gunicorn_sizing(**{"host_capacity": host(), "host_services": ["app"], **arguments})
    assert str(raised.value) == message


@given(HOSTS)
def test_memory_given_out_never_exceeds_the_host(capacity: dict[str, int]) -> None:
    assert gunicorn_sizing(capacity, ["app"])["workers"] * 250 <= capacity["memory_mb"]


@given(VCPUS, MEMORY_MB, st.integers(0, 64), st.integers(0, 65536))
def test_more_host_never_gives_less(vcpus: int, memory: int, more_vcpus: int, more_memory: int) -> None:
    smaller = gunicorn_sizing(host(vcpus, memory), ["app"])
    larger = gunicorn_sizing(host(vcpus + more_vcpus, memory + more_memory), ["app"])
    assert not at_least(larger, smaller)
