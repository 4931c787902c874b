"""Filter kernel_sizing: kernel settings and the open-files limit of a host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError, parse_host, parse_services

DOCUMENTATION = r"""
name: kernel_sizing
short_description: Kernel settings for the services of a host
description:
  - Queues long enough for the services' own backlogs, keepalive short enough that a dead peer is noticed, and memory settings that the
    services on the host ask for.
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
"""

EXAMPLES = r"""
- vars:
    __base_kernel: "{{ host_capacity | kernel_sizing(host_services) }}"
  ansible.builtin.debug:
    var: __base_kernel.sysctls
"""

RETURN = r"""
_value:
  description: C(sysctls), a dict of kernel settings, and C(nofile), the limit of open files for services and logins.
  type: dict
"""

WHO = "kernel_sizing"

# 2 x 16384 connections of nginx, 10000 clients of Redis, 1000 of PgBouncer: 65536 covers each of them.
NOFILE = 65536
# Kernel documentation, sysctl/fs: by default about a tenth of memory in kB; never below what services may open.
FILE_MAX_PER_MB = 102
FILE_MAX_MIN = 1048576
# Every host: what it is good for stands beside it.
COMMON: dict[str, Any] = {
    "net.core.somaxconn": 8192,  # above gunicorn's 2048 and Redis's 511 (kernel documentation: default 4096)
    "net.ipv4.tcp_max_syn_backlog": 8192,
    "net.ipv4.ip_local_port_range": "15000 65000",  # above all service ports but one, which is reserved
    "net.ipv4.ip_local_reserved_ports": "26379",  # Sentinel: an outgoing connection must not take its port
    # A silent peer is noticed after 60 + 6 x 10 s, instead of 2 h 11 min (kernel documentation, ip-sysctl).
    "net.ipv4.tcp_keepalive_time": 60,
    "net.ipv4.tcp_keepalive_intvl": 10,
    "net.ipv4.tcp_keepalive_probes": 6,
    "net.ipv4.tcp_fin_timeout": 30,
    # About 26 s instead of 15 min until an established connection without an answer is given up (RFC 1122 asks for more on the
    # open internet; inside one network a failover must not wait).
    "net.ipv4.tcp_retries2": 8,
    "net.ipv4.tcp_slow_start_after_idle": 0,
}
SWAPPINESS = 10
# PostgreSQL and Redis documentation: data that is swapped out is slower than no data.
SWAPPINESS_DATA = 1


def kernel_sizing(host_capacity: Any, host_services: Any, **unknown: Any) -> dict[str, Any]:
    """Kernel settings for one host."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes host_services only")
    host = parse_host(WHO, host_capacity)
    services = parse_services(WHO, host_services)
    sysctls = dict(COMMON)
    sysctls["fs.file-max"] = max(FILE_MAX_MIN, host.memory_mb * FILE_MAX_PER_MB)
    sysctls["vm.swappiness"] = SWAPPINESS_DATA if services & {"postgres", "redis"} else SWAPPINESS
    if "redis" in services:
        # Redis documentation, Administration: else a fork for RDB or AOF fails when memory is half full.
        sysctls["vm.overcommit_memory"] = 1
    if "postgres" in services:
        # PostgreSQL wiki, Tuning: write back early, so that a checkpoint does not stall on gigabytes at once.
        sysctls["vm.dirty_background_ratio"] = 3
        sysctls["vm.dirty_ratio"] = 10
    return {"sysctls": sysctls, "nofile": NOFILE}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"kernel_sizing": kernel_sizing}
