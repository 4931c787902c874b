from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_sizing import celery_sizing
from fleets import HOSTS, MEMORY_MB, VCPUS, at_least, host
from host_share import SizingError


def test_the_planners_worker_host_runs_four_processes() -> None:
    assert celery_sizing(host(2, 2048), ["celery"]) == {
        "concurrency": 4,
        "prefetch_multiplier": 4,
        "max_tasks_per_child": 1000,
        "time_limit": 300,
        "soft_time_limit": 240,
        "soft_shutdown_timeout": 60,
    }


@pytest.mark.parametrize(("vcpus", "memory", "concurrency"), [(1, 512, 1), (1, 1024, 2), (2, 1024, 2), (8, 8192, 16), (128, 1048576, 64)])
def test_processes_by_cpu_and_memory(vcpus: int, memory: int, concurrency: int) -> None:
    assert celery_sizing(host(vcpus, memory), ["celery"])["concurrency"] == concurrency


def test_other_services_on_the_host_leave_less_memory() -> None:
    assert celery_sizing(host(8, 4096), ["celery", "app"])["concurrency"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concurrency": 3}, "celery_sizing: unknown argument concurrency; it takes host_services only"),
        (
            {"host_services": {"celery": 1}},
            "celery_sizing: host_services is {'celery': 1}, but must be a list of group names; pass group_names",
        ),
        (
            {"host_capacity": host(memory_mb=511)},
            "celery_sizing: the host has 511 MB of memory, but at least 512 MB are needed; give it 512 MB or more",
        ),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["app"]},
            "celery_sizing: app + celery need 716 MB together, but the host has 512 MB; give it 716 MB or move a service to another host",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        celery_sizing(**{"host_capacity": host(), "host_services": ["celery"], **arguments})
    assert str(raised.value) == message


@given(HOSTS)
def test_memory_given_out_never_exceeds_the_host(capacity: dict[str, int]) -> None:
    assert celery_sizing(capacity, ["celery"])["concurrency"] * 250 <= capacity["memory_mb"]


@given(VCPUS, MEMORY_MB, st.integers(0, 64), st.integers(0, 65536))
def test_more_host_never_gives_less(vcpus: int, memory: int, more_vcpus: int, more_memory: int) -> None:
    smaller = celery_sizing(host(vcpus, memory), ["celery"])
    larger = celery_sizing(host(vcpus + more_vcpus, memory + more_memory), ["celery"])
    assert not at_least(larger, smaller)
