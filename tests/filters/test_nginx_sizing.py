from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import HOSTS, MEMORY_MB, VCPUS, at_least, host
from host_share import SizingError
from nginx_sizing import nginx_sizing


@pytest.mark.parametrize(
    ("vcpus", "memory", "expected"),
    [
        (1, 512, (1, 1024)),
        (2, 512, (2, 1024)),
        (4, 4096, (4, 8192)),
        (16, 4096, (8, 8192)),
        (8, 16384, (8, 16384)),
        (64, 32768, (32, 16384)),
        (128, 1048576, (64, 16384)),
    ],
)
def test_one_process_per_cpu_as_far_as_memory_goes(vcpus: int, memory: int, expected: tuple[int, int]) -> None:
    processes, connections = expected
    assert nginx_sizing(host(vcpus, memory), ["lb"]) == {
        "worker_processes": processes,
        "worker_connections": connections,
        "worker_rlimit_nofile": 2 * connections,
    }


def test_one_more_process_needs_memory_for_all_of_its_connections() -> None:
    # Beside the monitoring 17392 MB are left: 16 MB less than what 17 processes need.
    assert nginx_sizing(host(64, 69632), ["lb", "monitoring"])["worker_processes"] == 16


def test_a_crowded_host_keeps_the_least() -> None:
    sizes = nginx_sizing(host(8, 1540), ["lb", "app", "celery", "postgres", "redis", "monitoring"])
    assert (sizes["worker_processes"], sizes["worker_connections"]) == (2, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 3}, "nginx_sizing: unknown argument workers; it takes host_services only"),
        ({"host_services": "lb"}, "nginx_sizing: host_services is 'lb', but must be a list of group names; pass group_names"),
        (
            {"host_capacity": [1, 2]},
            "nginx_sizing: host_capacity is [1, 2], but must be a dict of vcpus, memory_mb and disk_gb; "
            "run the play through playbooks/preflight.yml, which measures every host",
        ),
        (
            {"host_capacity": host(memory_mb=512), "host_services": ["app", "postgres"]},
            "nginx_sizing: app + lb + postgres need 678 MB together, but the host has 512 MB; give it 678 MB or move a service to another host",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        nginx_sizing(**{"host_capacity": host(), "host_services": ["lb"], **arguments})
    assert str(raised.value) == message


@given(HOSTS)
def test_memory_given_out_never_exceeds_the_host(capacity: dict[str, int]) -> None:
    sizes = nginx_sizing(capacity, ["lb"])
    assert sizes["worker_processes"] * sizes["worker_connections"] * 32 / 1024 <= capacity["memory_mb"]


@given(VCPUS, MEMORY_MB, st.integers(0, 64), st.integers(0, 65536))
def test_more_host_never_gives_less(vcpus: int, memory: int, more_vcpus: int, more_memory: int) -> None:
    smaller = nginx_sizing(host(vcpus, memory), ["lb"])
    larger = nginx_sizing(host(vcpus + more_vcpus, memory + more_memory), ["lb"])
    assert not at_least(larger, smaller)
