from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fleets import ALL_SERVICES, HOSTS, host
from gunicorn_sizing import gunicorn_sizing
from host_share import SizingError
from kernel_sizing import kernel_sizing
from nginx_sizing import nginx_sizing
from redis_sizing import redis_sizing

COMMON = {
    "net.core.somaxconn": 8192,
    "net.ipv4.tcp_max_syn_backlog": 8192,
    "net.ipv4.ip_local_port_range": "15000 65000",
    "net.ipv4.ip_local_reserved_ports": "26379",
    "net.ipv4.tcp_keepalive_time": 60,
    "net.ipv4.tcp_keepalive_intvl": 10,
    "net.ipv4.tcp_keepalive_probes": 6,
    "net.ipv4.tcp_fin_timeout": 30,
    "net.ipv4.tcp_retries2": 8,
    "net.ipv4.tcp_slow_start_after_idle": 0,
    "fs.file-max": 1671168,
}


@pytest.mark.parametrize(
    ("services", "own"),
    [
        (["app"], {"vm.swappiness": 10}),
        ([], {"vm.swappiness": 10}),
        (["redis", "etcd"], {"vm.swappiness": 1, "vm.overcommit_memory": 1}),
        (["postgres"], {"vm.swappiness": 1, "vm.dirty_background_ratio": 3, "vm.dirty_ratio": 10}),
        (ALL_SERVICES, {"vm.swappiness": 1, "vm.overcommit_memory": 1, "vm.dirty_background_ratio": 3, "vm.dirty_ratio": 10}),
    ],
)
def test_settings_follow_the_services(services: list[str], own: dict[str, Any]) -> None:
    assert kernel_sizing(host(), services) == {"sysctls": {**COMMON, **own}, "nofile": 65536}


def test_a_small_host_may_open_what_its_services_need() -> None:
    assert kernel_sizing(host(1, 512), [])["sysctls"]["fs.file-max"] == 1048576


@given(HOSTS)
def test_limits_cover_what_the_services_ask_for(capacity: dict[str, int]) -> None:
    limits = kernel_sizing(capacity, ALL_SERVICES)
    assert limits["nofile"] >= nginx_sizing(capacity, ["lb"])["worker_rlimit_nofile"]
    assert limits["nofile"] >= redis_sizing(capacity, ["redis"])["maxclients"] + 32
    assert limits["sysctls"]["net.core.somaxconn"] >= gunicorn_sizing(capacity, ["app"])["backlog"]
    assert limits["sysctls"]["fs.file-max"] >= limits["nofile"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nofile": 3}, "kernel_sizing: unknown argument nofile; it takes host_services only"),
        ({"host_services": "lb"}, "kernel_sizing: host_services is 'lb', but must be a list of group names; pass group_names"),
        (
            {"host_capacity": host(memory_mb=1)},
            "kernel_sizing: the host has 1 MB of memory, but at least 512 MB are needed; give it 512 MB or more",
        ),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        kernel_sizing(**{"host_capacity": host(), "host_services": ["lb"], **arguments})
    assert str(raised.value) == message
