"""Filter celery_sizing: worker processes of the background tier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from django_processes import processes_by_memory
from host_share import SizingError, memory_share_mb, parse_host, parse_services

DOCUMENTATION = r"""
name: celery_sizing
short_description: Celery settings that fit the host
description:
  - Two processes per CPU, because tasks wait for the database and for mail servers more than they compute.
  - Fewer where memory does not carry them.
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
    # {vcpus: 2, memory_mb: 2048, disk_gb: 20} -> concurrency 4
    __celery_sizing: "{{ host_capacity | celery_sizing(host_services) }}"
  ansible.builtin.debug:
    var: __celery_sizing
"""

RETURN = r"""
_value:
  description: Worker settings without Celery's prefixes; times in seconds.
  type: dict
"""

WHO = "celery_sizing"

# Facts, capacity planner: concurrency 4 on 2 cores and 2 GB. Celery's own default is one process per CPU.
PROCESSES_PER_VCPU = 2
# Celery user guide, Optimizing: one pool of this size, then another worker, else its parent becomes the bottleneck.
CONCURRENCY_MAX = 64


def celery_sizing(host_capacity: Any, host_services: Any, **unknown: Any) -> dict[str, Any]:
    """Settings for one worker host."""
    if unknown:
        raise SizingError(f"{WHO}: unknown argument {', '.join(sorted(unknown))}; it takes host_services only")
    host = parse_host(WHO, host_capacity)
    share = memory_share_mb(WHO, host, parse_services(WHO, host_services, "celery"), "celery")
    return {
        "concurrency": min(PROCESSES_PER_VCPU * host.vcpus, processes_by_memory(share), CONCURRENCY_MAX),
        "prefetch_multiplier": 4,  # facts
        "max_tasks_per_child": 1000,  # facts
        "time_limit": 300,  # facts
        "soft_time_limit": 240,  # facts
        "soft_shutdown_timeout": 60,  # facts
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"celery_sizing": celery_sizing}
