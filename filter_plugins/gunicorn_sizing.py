"""Filter gunicorn_sizing: worker processes and threads of the web application."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from django_processes import processes_by_memory
from host_share import SizingError, memory_share_mb, parse_host, parse_services

DOCUMENTATION = r"""
name: gunicorn_sizing
short_description: gunicorn settings that fit the host
description:
  - Twice the CPUs and one worker, as gunicorn advises, fewer where memory does not carry them.
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
    # {vcpus: 8, memory_mb: 16384, disk_gb: 80} -> workers 17, threads 2
    __app_sizing: "{{ host_capacity | gunicorn_sizing(host_services) }}"
  ansible.builtin.debug:
    var: __app_sizing
"""

RETURN = r"""
_value:
  description: Setting names and values for gunicorn.conf.py.
  type: dict
"""

WHO = "gunicorn_sizing"

# gunicorn documentation, Design, "How Many Workers?": (2 x cores) + 1, and not more than a host can use: "4-12 workers
# handle hundreds or thousands of requests per second". 65 keeps a 128-core host from opening hundreds of connections.
WORKERS_PER_VCPU = 2
WORKERS_EXTRA = 1
WORKERS_MAX = 65


def gunicorn_sizing(host_capacity: Any, host_services: Any, **unknown: Any) -> dict[str, Any]:
    """Settings for one application host."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes host_services only")
    host = parse_host(WHO, host_capacity)
    share = memory_share_mb(WHO, host, parse_services(WHO, host_services, "app"), "app")
    by_cpu = WORKERS_PER_VCPU * host.vcpus + WORKERS_EXTRA
    return {
        "workers": min(by_cpu, processes_by_memory(share), WORKERS_MAX),
        "threads": 2,  # facts
        "timeout": 120,  # facts, seconds
        "graceful_timeout": 30,  # facts, seconds
        "max_requests": 1000,  # facts
        "max_requests_jitter": 100,  # gunicorn documentation: spreads the restarts; a tenth is customary
        "keepalive": 0,  # one request per connection: a reused one could be reset by a worker that has served its share
        "backlog": 2048,  # gunicorn documentation: default; kernel_sizing sets net.core.somaxconn above it
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"gunicorn_sizing": gunicorn_sizing}
