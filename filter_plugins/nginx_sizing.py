"""Filter nginx_sizing: worker processes, connections and files of the balancer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError, memory_share_mb, parse_host, parse_services

DOCUMENTATION = r"""
name: nginx_sizing
short_description: nginx settings that fit the host
description:
  - One worker per CPU, and as many connections as half of the memory carries.
positional: _input, host_services
options:
  _input:
    description: C(host_capacity) of the host.
    type: dict
    required: true
  host_services:
    description: Groups of the host; services on the same host share its memory.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- vars:
    # {vcpus: 4, memory_mb: 4096, disk_gb: 40} -> worker_processes 4, worker_connections 8192
    __nginx_sizing: "{{ host_capacity | nginx_sizing(host_services) }}"
  ansible.builtin.debug:
    var: __nginx_sizing
"""

RETURN = r"""
_value:
  description: Values of the nginx directives of the same names.
  type: dict
"""

WHO = "nginx_sizing"

# A proxied TLS connection with its buffers takes about 32 kB (nginx documentation: proxy_buffers 8 x 4k, plus
# OpenSSL's read and write buffers, released while idle). Half of the memory may be spent so.
CONNECTION_KB = 32
MEMORY_PART = 2
CONNECTIONS_PER_MB = 2
# nginx documentation: default 512; above 16384 a second balancer is due.
CONNECTIONS_MIN = 512
CONNECTIONS_MAX = 16384
# nginx documentation: worker_processes auto is one per CPU; more than 64 gain nothing for a proxy.
PROCESSES_MAX = 64
# Every proxied request holds two connections and may hold a temporary or static file.
FILES_PER_CONNECTION = 2


def nginx_sizing(host_capacity: Any, host_services: Any, **unknown: Any) -> dict[str, Any]:
    """Settings for one balancer."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes host_services only")
    host = parse_host(WHO, host_capacity)
    share = memory_share_mb(WHO, host, parse_services(WHO, host_services, "lb"), "lb")
    connections = max(CONNECTIONS_MIN, min(CONNECTIONS_MAX, share * CONNECTIONS_PER_MB))
    by_memory = share * 1024 // (MEMORY_PART * CONNECTION_KB * connections)
    return {
        "worker_processes": max(1, min(host.vcpus, PROCESSES_MAX, by_memory)),
        "worker_connections": connections,
        "worker_rlimit_nofile": connections * FILES_PER_CONNECTION,
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"nginx_sizing": nginx_sizing}
