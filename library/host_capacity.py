#!/usr/bin/python
"""What this host may really use: the smaller of the machine and its control groups."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DOCUMENTATION = r"""
---
module: host_capacity
short_description: CPUs, memory and disk that a host may really use
description:
  - Reports the smaller of what the machine has and what its control groups allow, because inside a container
    C(ansible_memtotal_mb) and C(ansible_processor_vcpus) describe the machine and not the container.
  - Reads cgroup v2, v1 and the hybrid of both, and every ancestor of the group of this process, because a limit
    set on a parent binds all its children.
  - Limits below C(user.slice) are left out. They bind the login session that runs this module, not the services.
  - With O(survey=true) it also reports what preflight needs to know, so that one task per host is enough.
  - Needs Python 3.9 and nothing else.
options:
  path:
    description: Directory whose file system is measured. The nearest existing parent is taken.
    type: path
    default: /var/lib
  survey:
    description: Also return the fact C(host_survey).
    type: bool
    default: false
  controller_epoch:
    description: Time of the controller when it asks, in seconds since 1970. It comes back beside the host's own time.
    type: float
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Measure the host
  host_capacity:

- name: Measure the host and look around for preflight
  host_capacity:
    survey: true
"""

RETURN = r"""
ansible_facts:
  description: Facts that are set.
  returned: always
  type: complex
  contains:
    host_capacity:
      description: What the host may use. C(vcpus) is whole CPUs, at least 1; C(memory_mb) is MiB; C(disk_gb) is GiB.
      returned: always
      type: dict
      sample: {vcpus: 8, memory_mb: 16384, disk_gb: 160}
    host_survey:
      description: Distribution, free disk, clock, and listening TCP ports with the systemd unit or process that owns them.
      returned: when O(survey=true)
      type: dict
      sample:
        distribution: debian
        version: "13"
        architecture: x86_64
        systemd: true
        disk_free_gb: 120
        epoch: 1767225600.3
        asked_at: 1767225600.1
        listeners: [{port: 22, owner: ssh.service}]
"""

MIB = 1024 * 1024
GIB = 1024 * MIB
# State TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h of Linux).
TCP_LISTEN = "0A"


class Mount(NamedTuple):
    """One control group file system as /proc/self/mountinfo shows it."""

    root: str
    point: str
    version: int
    controllers: frozenset[str]


def read_text(path: Path) -> str:
    """Content of a file, or nothing where it is absent or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def count_cpu_list(text: str) -> int:
    """Number of CPUs in the kernel's list format: 0-3,8 is five."""
    total = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            total += int(last if last.isdigit() else first) - int(first) + 1
    return total


def machine_vcpus(root: Path) -> int:
    """CPUs that services may be scheduled on: online, and within the affinity that cpusets narrow.

    Services inherit the affinity of PID 1. Our own is asked only where PID 1 is hidden (hidepid): Mitogen pins its children to one CPU.
    """
    counts = [count_cpu_list(read_text(root / "sys/devices/system/cpu/online"))]
    for line in (read_text(root / "proc/1/status") or read_text(root / "proc/self/status")).splitlines():
        if line.startswith("Cpus_allowed_list:"):
            counts.append(count_cpu_list(line.partition(":")[2]))
    known = [count for count in counts if count > 0]
    return min(known) if known else 1


def machine_memory(root: Path) -> int:
    """Bytes of memory of the machine."""
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("host_capacity: no MemTotal in %s; is /proc mounted?" % (root / "proc/meminfo"))


def cgroup_mounts(root: Path) -> list[Mount]:
    """Control group file systems. Fields before ' - ' are ours, fields after it describe the file system."""
    mounts = []
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fields, source = left.split(), right.split()
        if source[0] == "cgroup2":
            mounts.append(Mount(fields[3], fields[4], 2, frozenset()))
        elif source[0] == "cgroup":
            mounts.append(Mount(fields[3], fields[4], 1, frozenset(source[-1].split(","))))
    return mounts


def own_cgroups(root: Path) -> Iterator[tuple[int, frozenset[str], str]]:
    """Groups of this process: version, controllers, path."""
    for line in read_text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield (2, frozenset(), path) if number == "0" else (1, frozenset(controllers.split(",")), path)


def service_path(path: str) -> str:
    """The part of a path that also binds services: a login's limits under user.slice do not."""
    head, separator, _ = path.partition("/user.slice")
    return (head or "/") if separator else path


def relative_to_mount(path: str, mount: Mount) -> str:
    """Path below the mount point. A container may see a path of the machine, or one outside its own namespace."""
    if ".." in path.split("/"):
        return ""
    if mount.root == "/":
        return path.strip("/")
    if path == mount.root or path.startswith(mount.root + "/"):
        return path[len(mount.root) :].strip("/")
    return ""


def group_and_ancestors(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Every directory, from the group of this process up to the mount point, that can limit a controller."""
    for mount in cgroup_mounts(root):
        for version, controllers, path in own_cgroups(root):
            if version != mount.version or (version == 1 and controller not in controllers & mount.controllers):
                continue
            point = root / mount.point.lstrip("/")
            group = point / relative_to_mount(service_path(path), mount)
            while True:
                yield version, group
                if group == point:
                    break
                group = group.parent


def memory_limit(version: int, group: Path) -> int | None:
    """Bytes that a group allows; nothing where it sets no limit."""
    text = read_text(group / ("memory.max" if version == 2 else "memory.limit_in_bytes")).strip()
    return int(text) if text.isdigit() and int(text) > 0 else None


def cpu_limit(version: int, group: Path) -> float | None:
    """CPUs that a group's quota allows; nothing where it sets none."""
    if version == 2:
        words = read_text(group / "cpu.max").split()
    else:
        words = [read_text(group / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def usable_memory_mb(root: Path) -> int:
    """MiB of memory: machine, or the tightest group above us."""
    limits = [memory_limit(version, group) for version, group in group_and_ancestors(root, "memory")]
    return max(1, min([machine_memory(root), *[limit for limit in limits if limit is not None]]) // MIB)


def usable_vcpus(root: Path) -> int:
    """Whole CPUs: a quota of 1.5 counts as one, because half a CPU carries no worker of its own."""
    limits = [cpu_limit(version, group) for version, group in group_and_ancestors(root, "cpu")]
    return max(1, int(min([float(machine_vcpus(root)), *[limit for limit in limits if limit is not None]])))


def nearest_existing(path: Path) -> Path:
    """The path itself or the closest parent that exists: /var/lib/postgresql is made later, on the same disk."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk_bytes(path: Path) -> tuple[int, int]:
    """Size and free space of a file system, in bytes."""
    status = os.statvfs(str(nearest_existing(path)))
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def capacity(root: Path, path: str) -> dict[str, int]:
    """The fact host_capacity."""
    size, _ = disk_bytes(root / path.lstrip("/"))
    return {"vcpus": usable_vcpus(root), "memory_mb": usable_memory_mb(root), "disk_gb": size // GIB}


def os_release(root: Path) -> dict[str, str]:
    """Fields of /etc/os-release."""
    fields = {}
    for line in read_text(root / "etc/os-release").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            fields[name.strip()] = value.strip().strip("\"'")
    return fields


def listening_inodes(root: Path) -> dict[str, int]:
    """Socket inode -> port of every listening TCP socket."""
    found = {}
    for name in ("proc/net/tcp", "proc/net/tcp6"):
        for line in read_text(root / name).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == TCP_LISTEN:
                found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def unit_of(root: Path, pid: str) -> str:
    """The systemd unit of a process, else its name: the kernel's own record, no command is run."""
    for line in read_text(root / "proc" / pid / "cgroup").splitlines():
        last = line.rpartition("/")[2]
        if last.endswith((".service", ".socket")):
            return last
    return read_text(root / "proc" / pid / "comm").strip()


def listeners(root: Path) -> list[dict[str, Any]]:
    """Listening ports with their owners. Another user's sockets are seen by root only; their owner stays empty."""
    ports = listening_inodes(root)
    owners: dict[int, set[str]] = {port: set() for port in ports.values()}
    for process in (root / "proc").glob("[0-9]*"):
        try:
            links = [os.readlink(str(link)) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        for link in links:
            inode = link[8:-1] if link.startswith("socket:[") else ""
            if inode in ports:
                owners[ports[inode]].add(unit_of(root, process.name))
    # A socket unit's listener is held by PID 1 as well; the service is the better name for it.
    return [{"port": port, "owner": next(iter(sorted(names - {"systemd", "init"}) or sorted(names)), "")} for port, names in sorted(owners.items())]


def survey(root: Path, path: str) -> dict[str, Any]:
    """The fact host_survey."""
    release = os_release(root)
    _, free = disk_bytes(root / path.lstrip("/"))
    return {
        "distribution": release.get("ID", "unknown"),
        "version": release.get("VERSION_ID", "unknown"),
        "architecture": platform.machine(),
        "systemd": (root / "run/systemd/system").is_dir(),
        "disk_free_gb": free // GIB,
        "listeners": listeners(root),
    }


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/var/lib"},
            "survey": {"type": "bool", "default": False},
            "controller_epoch": {"type": "float"},
        },
        supports_check_mode=True,
    )
    root = Path("/")
    started = time.time()
    try:
        facts: dict[str, Any] = {"host_capacity": capacity(root, module.params["path"])}
        if module.params["survey"]:
            facts["host_survey"] = survey(root, module.params["path"])
            facts["host_survey"].update(epoch=started, asked_at=module.params["controller_epoch"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
