"""How a host's memory is shared among the services that live on it. Used by every sizing filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class SizingError(ValueError):
    """Wrong input or sizes that cannot fit: the message names culprit, finding, limit and fix."""


@dataclass(frozen=True)
class Host:
    """What a host may use, as library/host_capacity.py reports it."""

    vcpus: int
    memory_mb: int
    disk_gb: int


@dataclass(frozen=True)
class Elastic:
    """A service that grows with its host: least memory it runs with, and its weight when the rest is divided."""

    minimum_mb: int
    weight: int


# Least memory: what each service needs to start and serve a handful of users, measured on the lab's small hosts.
# Weights: proportion of the reference hosts in the planner's table (database 16, cache 8, application 6, worker 2 GB),
# rounded, with the balancer and monitoring as small change.
ELASTIC = {
    "postgres": Elastic(minimum_mb=256, weight=8),
    "redis": Elastic(minimum_mb=96, weight=4),
    "app": Elastic(minimum_mb=358, weight=6),
    "celery": Elastic(minimum_mb=358, weight=3),
    "monitoring": Elastic(minimum_mb=256, weight=3),
    "lb": Elastic(minimum_mb=64, weight=1),
}
# Services whose need does not grow with the host. They live in the part of the host that every elastic service leaves free
# on purpose: PostgreSQL, which leaves the least, gives out 25 % + 50 % + 5/32 = 91 %, and up to 4 % may be missing from
# what the host was sold with. What is more than 1/32 of the host is taken off before anybody shares.
FIXED_MB = {"sentinel": 16, "etcd": 64, "backup": 64}
FIXED_FREE_PART = 32
SERVICES = frozenset(ELASTIC) | frozenset(FIXED_MB)
# Below this the Debian system itself, with sshd, journald and the node exporter, leaves nothing to share.
SMALLEST_HOST_MB = 512
# A virtual machine sold as 16 GB reports 15.4 to 15.9: firmware and kernel keep 1 to 4 % (Linux, memory-hotplug and
# crashkernel reservations). Sizes follow the nominal figure, so that equal orders give equal settings.
NOMINAL_STEP_MB = 1024
NOMINAL_TOLERANCE = 0.04

_UNITS_MB = {"": 1 / 1024 / 1024, "b": 1 / 1024 / 1024, "k": 1 / 1024, "kb": 1 / 1024, "m": 1.0, "mb": 1.0}
_UNITS_MB.update({"g": 1024.0, "gb": 1024.0, "t": 1024.0 * 1024, "tb": 1024.0 * 1024})


def whole_number(who: str, name: str, value: Any, least: int = 1) -> int:
    """A count given by a person or a fact; text digits are taken because extra vars arrive as text."""
    number = int(value) if isinstance(value, str) and value.strip().isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise SizingError(f"{who}: {name} is {value!r}, but must be a whole number of {least} or more; correct it")
    return number


def parse_host(who: str, capacity: Any) -> Host:
    """Check a host_capacity dict."""
    if not isinstance(capacity, Mapping):
        raise SizingError(
            f"{who}: host_capacity is {capacity!r}, but must be a dict of vcpus, memory_mb and disk_gb; "
            "run the play through playbooks/preflight.yml, which measures every host"
        )
    missing = [key for key in ("vcpus", "memory_mb", "disk_gb") if key not in capacity]
    if missing:
        raise SizingError(
            f"{who}: host_capacity lacks {', '.join(missing)}, but has {', '.join(sorted(map(str, capacity))) or 'nothing'}; "
            "declare vcpus, memory_mb and disk_gb, or let playbooks/preflight.yml measure the host"
        )
    host = Host(
        vcpus=whole_number(who, "host_capacity.vcpus", capacity["vcpus"]),
        memory_mb=whole_number(who, "host_capacity.memory_mb", capacity["memory_mb"]),
        disk_gb=whole_number(who, "host_capacity.disk_gb", capacity["disk_gb"], least=0),
    )
    if host.memory_mb < SMALLEST_HOST_MB:
        raise SizingError(
            f"{who}: the host has {host.memory_mb} MB of memory, but at least {SMALLEST_HOST_MB} MB are needed; give it {SMALLEST_HOST_MB} MB or more"
        )
    return host


def parse_services(who: str, services: Any, own: str | None = None) -> frozenset[str]:
    """Check host_services. Groups that are no service of ours (an inventory's own grouping) do not count."""
    if isinstance(services, (str, Mapping)) or not isinstance(services, Iterable):
        raise SizingError(f"{who}: host_services is {services!r}, but must be a list of group names; pass group_names")
    known = frozenset(str(name) for name in services) & SERVICES
    return known | {own} if own else known


def nominal_memory_mb(memory_mb: int) -> int:
    """The size a host was sold with: the next whole GB where the reported figure is within 4 % of it."""
    sold = -(-memory_mb // NOMINAL_STEP_MB) * NOMINAL_STEP_MB
    return sold if sold - memory_mb <= sold * NOMINAL_TOLERANCE else memory_mb


def memory_share_mb(who: str, host: Host, services: frozenset[str], service: str) -> int:
    """Memory of one service: each gets its minimum, and what is left is divided by weight. Together never more than the host has."""
    memory = nominal_memory_mb(host.memory_mb)
    living = {name: ELASTIC[name] for name in services if name in ELASTIC}
    fixed = sum(FIXED_MB[name] for name in services if name in FIXED_MB)
    least = sum(need.minimum_mb for need in living.values())
    if least + fixed > memory:
        raise SizingError(
            f"{who}: {' + '.join(sorted(services))} need {least + fixed} MB together, but the host has {memory} MB; "
            f"give it {least + fixed} MB or move a service to another host"
        )
    memory -= max(0, fixed - memory // FIXED_FREE_PART)
    return living[service].minimum_mb + (memory - least) * living[service].weight // sum(n.weight for n in living.values())


def parse_size_mb(who: str, name: str, value: Any) -> float:
    """MB of a size as the services write it: 4096MB, 8gb, 64kB."""
    found = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", str(value))
    if not found or found.group(2).lower() not in _UNITS_MB:
        raise SizingError(f"{who}: {name} is {value!r}, but must be a number with kB, MB, GB or TB; write it like 4096MB")
    return int(found.group(1)) * _UNITS_MB[found.group(2).lower()]
