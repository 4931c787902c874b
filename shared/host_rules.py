"""Rules about hosts as they were found: reachable, the right system, room, clock, and ports that are free or ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

SUPPORTED = {"debian": ("13",)}
ARCHITECTURES = ("x86_64", "aarch64")
# What a shell says of a host without Python, through Mitogen and through stock Ansible.
NO_PYTHON = re.compile(r"python3\S*( was)?:? (not found|No such file)")
# GB that installation, logs and a day of data need before anybody notices a full disk.
FREE_DISK_GB = {"postgres": 5, "backup": 5, "monitoring": 3, "redis": 3}
FREE_DISK_GB_OTHERS = 2
# etcd and TLS bear a few seconds.
CLOCK_TOLERANCE_S = 5
# Ports of each service and the beginning of the units that may hold them.
PORTS: dict[str, dict[int, tuple[str, ...]]] = {
    "": {9100: ("prometheus-node-exporter",)},
    "lb": {80: ("nginx",), 443: ("nginx",), 8080: ("nginx",), 9113: ("prometheus-nginx-exporter",)},
    # systemd holds the socket for the application.
    "app": {8000: ("obcms", "systemd")},
    "postgres": {5432: ("patroni", "postgres"), 8008: ("patroni",), 8432: ("pgbackrest",), 9187: ("prometheus-postgres-exporter",)},
    "backup": {8432: ("pgbackrest",), 8485: ("restic-rest-server",)},
    "redis": {6379: ("redis",), 9121: ("prometheus-redis-exporter",)},
    "sentinel": {26379: ("redis",)},
    "etcd": {2379: ("etcd",), 2380: ("etcd",)},
    "monitoring": {3000: ("grafana",), 9090: ("prometheus",), 9093: ("prometheus-alertmanager", "alertmanager"), 9115: ("prometheus-blackbox",)},
}
DATA_PATH: dict[int, tuple[str, ...]] = {
    5000: ("haproxy",),
    5001: ("haproxy",),
    6379: ("haproxy",),
    6432: ("pgbouncer",),
    8405: ("haproxy",),
    9127: ("prometheus-pgbouncer-exporter",),
}


def ports_of(services: Collection[str]) -> dict[int, tuple[str, ...]]:
    """Ports that the services of a host take, with the units that may already hold them."""
    ports: dict[int, tuple[str, ...]] = {}
    tables = [PORTS[""], *(PORTS[name] for name in services if name in PORTS)]
    if {"app", "celery"} & set(services):
        tables.append(DATA_PATH)
    for table in tables:
        for port, owners in table.items():
            ports[port] = ports.get(port, ()) + owners
    return ports


def reach_problems(host: str, measured: Mapping[str, Any], address: Any) -> Iterator[str]:
    """The host answered, and the question could be run there."""
    if NO_PYTHON.search(f"{measured.get('msg')} {measured.get('module_stderr')}"):
        yield f"host {host} ({address}) has no Python; install it with playbooks/bootstrap.yml --limit {host}"
    elif measured.get("unreachable"):
        reason = " ".join(str(measured.get("msg", "no answer")).split())
        # Connection plugins put their own words around what ssh says.
        reason = reason[reason.rfind("ssh: ") :] if "ssh: " in reason else reason
        yield f"host {host} ({address}) cannot be reached: {reason[:200]}; start it, or correct its address, user or key in the inventory"
    elif "ansible_facts" not in measured:
        reason = " ".join(str(measured.get("msg") or measured.get("module_stderr") or "no answer").split())
        yield f"host {host} ({address}) cannot be measured: {reason[:200]}; it needs Python 3.9 or newer and sudo for the connecting user"


def system_problems(host: str, survey: Mapping[str, Any]) -> Iterator[str]:
    """A system that the roles know."""
    distribution, version = str(survey.get("distribution")), str(survey.get("version"))
    if version not in SUPPORTED.get(distribution, ()):
        yield f"host {host} runs {distribution} {version}, but the roles are for Debian 13; install Debian 13 there"
    if survey.get("architecture") not in ARCHITECTURES:
        yield f"host {host} is a {survey.get('architecture')} machine, but packages are for {' and '.join(ARCHITECTURES)}; use such a machine"
    if not survey.get("systemd", True):
        yield f"host {host} does not run systemd, but all services are its units; start the host with systemd as process 1"


def disk_problems(host: str, survey: Mapping[str, Any], services: Collection[str]) -> Iterator[str]:
    """Room for installation and data."""
    needed = max([FREE_DISK_GB_OTHERS, *(FREE_DISK_GB[name] for name in services if name in FREE_DISK_GB)])
    free = survey.get("disk_free_gb")
    if isinstance(free, int) and free < needed:
        yield f"host {host} has {free} GB free below /var/lib, but {needed} GB are needed; clean up there or give it a larger disk"


def clock_problems(host: str, survey: Mapping[str, Any], now: float) -> Iterator[str]:
    """Certificates, tokens and leases depend on one time. The host's time lies between our question and this moment, else its clock is wrong."""
    epoch, asked_at = survey.get("epoch"), survey.get("asked_at")
    if epoch is None or asked_at is None:
        return
    behind, ahead = float(asked_at) - float(epoch), float(epoch) - now
    seconds, direction = max((behind, "behind"), (ahead, "ahead of"))
    if seconds > CLOCK_TOLERANCE_S:
        yield (
            f"clock of {host} is {seconds:.0f} s {direction} this machine's, but {CLOCK_TOLERANCE_S} s are allowed; "
            "set it right with chronyc makestep"
        )


def port_problems(host: str, survey: Mapping[str, Any], services: Collection[str]) -> Iterator[str]:
    """A port is free, or held by the service that is meant to hold it."""
    ports = ports_of(services)
    for listener in survey.get("listeners") or ():
        port, owner = listener.get("port"), str(listener.get("owner") or "")
        if owner and port in ports and not owner.startswith(ports[port]):
            yield f"port {port} of {host} is held by {owner}, but {ports[port][0]} needs it; stop {owner} there or move it to another port"
