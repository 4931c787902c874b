"""The module host_capacity, on made-up machines."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import host_capacity

GIB = 1024**3
UNLIMITED_V1 = "9223372036854771712"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1_MEMORY = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
V1_CPU = "32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
HYBRID_MOUNT = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"


class Machine:
    """A root directory that looks like a Linux machine with 16 CPUs and 32 GiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal:       {32 * 1024 * 1024} kB\nMemFree: 1 kB\n")
        self.write("sys/devices/system/cpu/online", "0-15\n")
        self.write("proc/1/status", "Name:\tsystemd\nCpus_allowed_list:\t0-15\n")

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def groups(self, mounts: list[str], own: str) -> None:
        self.write("proc/self/mountinfo", "\n".join(["22 1 0:5 / /proc rw - proc proc rw", *mounts]) + "\n")
        self.write("proc/self/cgroup", own)

    def size(self) -> tuple[int, int]:
        return host_capacity.usable_vcpus(self.root), host_capacity.usable_memory_mb(self.root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_groups_the_machine_counts(machine: Machine) -> None:
    assert machine.size() == (16, 32768)


def test_v2_limits_of_the_own_group(machine: Machine) -> None:
    machine.groups([V2_MOUNT], "0::/system.slice/x.service\n")
    machine.write("sys/fs/cgroup/system.slice/x.service/memory.max", f"{2 * GIB}\n")
    machine.write("sys/fs/cgroup/system.slice/x.service/cpu.max", "250000 100000\n")
    assert machine.size() == (2, 2048)


def test_v2_limits_of_an_ancestor_bind_too(machine: Machine) -> None:
    machine.groups([V2_MOUNT], "0::/docker/abc/init.scope\n")
    machine.write("sys/fs/cgroup/docker/abc/init.scope/memory.max", "max\n")
    machine.write("sys/fs/cgroup/docker/abc/init.scope/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/docker/abc/memory.max", f"{4 * GIB}\n")
    machine.write("sys/fs/cgroup/docker/memory.max", f"{8 * GIB}\n")
    machine.write("sys/fs/cgroup/docker/cpu.max", "400000 100000\n")
    assert machine.size() == (4, 4096)


def test_v2_limit_at_the_mount_point_of_a_namespace(machine: Machine) -> None:
    machine.groups([V2_MOUNT], "0::/\n")
    machine.write("sys/fs/cgroup/memory.max", f"{GIB}\n")
    machine.write("sys/fs/cgroup/cpu.max", "50000 100000\n")
    assert machine.size() == (1, 1024)


def test_a_limit_on_the_login_session_does_not_bind_services(machine: Machine) -> None:
    machine.groups([V2_MOUNT], "0::/lab/user.slice/user-1000.slice/session-3.scope\n")
    machine.write("sys/fs/cgroup/lab/user.slice/memory.max", f"{GIB}\n")
    machine.write("sys/fs/cgroup/lab/user.slice/user-1000.slice/cpu.max", "100000 100000\n")
    machine.write("sys/fs/cgroup/lab/memory.max", f"{3 * GIB}\n")
    assert machine.size() == (16, 3072)
    machine.groups([V2_MOUNT], "0::/user.slice/user-1000.slice\n")
    machine.write("sys/fs/cgroup/memory.max", f"{5 * GIB}\n")
    assert machine.size() == (16, 5120)


def test_v1_limits(machine: Machine) -> None:
    machine.groups([V1_MEMORY, V1_CPU], "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n")
    machine.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", f"{6 * GIB}\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1)
    machine.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "350000\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n")
    assert machine.size() == (3, 6144)


def test_v1_container_that_sees_only_its_own_part_of_the_tree(machine: Machine) -> None:
    mount = "31 23 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    machine.groups([mount], "5:memory:/docker/abc/system.slice\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2 * GIB}\n")
    machine.write("sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes", f"{4 * GIB}\n")
    assert machine.size() == (16, 2048)


def test_path_outside_of_the_namespace_starts_at_the_mount_point(machine: Machine) -> None:
    machine.groups([V2_MOUNT], "0::/../other\n")
    machine.write("sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    assert machine.size() == (16, 2048)
    mount = "31 23 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
    machine.groups([mount], "0::/docker/other\n")
    assert machine.size() == (16, 2048)


def test_hybrid_takes_the_controllers_from_v1(machine: Machine) -> None:
    machine.groups([HYBRID_MOUNT, V1_MEMORY], "5:memory:/a\n0::/a\n")
    machine.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", f"{7 * GIB}\n")
    machine.write("sys/fs/cgroup/unified/a/cgroup.procs", "1\n")
    assert machine.size() == (16, 7168)


@pytest.mark.parametrize(("affinity", "vcpus"), [("0-3", 4), ("0,2,4-5", 4), ("7", 1), ("0-63", 16), ("", 16)])
def test_affinity_narrows_the_cpus(machine: Machine, affinity: str, vcpus: int) -> None:
    machine.write("proc/1/status", f"Cpus_allowed_list:\t{affinity}\n")
    assert machine.size()[0] == vcpus


def test_own_affinity_counts_only_where_pid_1_is_hidden(machine: Machine) -> None:
    machine.write("proc/self/status", "Cpus_allowed_list:\t3\n")
    assert machine.size()[0] == 16
    (machine.root / "proc/1/status").unlink()
    assert machine.size()[0] == 1


@pytest.mark.parametrize("text", ["max 100000", "100000", "100000 0", "x y", ""])
def test_unreadable_quota_is_no_quota(machine: Machine, text: str) -> None:
    machine.groups([V2_MOUNT], "0::/\n")
    machine.write("sys/fs/cgroup/cpu.max", text)
    assert machine.size()[0] == 16


def test_a_machine_without_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no MemTotal"):
        host_capacity.usable_memory_mb(tmp_path)


def test_disk_is_measured_where_data_will_be(machine: Machine) -> None:
    assert host_capacity.capacity(machine.root, "/var/lib/not/there/yet")["disk_gb"] >= 1


def test_survey_names_distribution_and_free_disk(machine: Machine) -> None:
    machine.write("etc/os-release", 'ID=debian\nVERSION_ID="13"\nnonsense\n')
    machine.write("run/systemd/system/x", "")
    found = host_capacity.survey(machine.root, "/var/lib")
    assert (found["distribution"], found["version"], found["systemd"]) == ("debian", "13", True)
    assert found["disk_free_gb"] >= 0
    assert found["listeners"] == []


def test_survey_of_a_stranger(tmp_path: Path) -> None:
    found = host_capacity.survey(tmp_path, "/")
    assert (found["distribution"], found["version"], found["systemd"]) == ("unknown", "unknown", False)


def test_listeners_have_the_unit_that_owns_them(machine: Machine) -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    listen = "   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\n"
    established = "   1: 00000000:0016 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x\n"
    six = "   0: 00000000000000000000000000000000:1F90 00:0 0A 0:0 0:0 0 0 0 4713 1 x\n"
    machine.write("proc/net/tcp", header + listen + established)
    machine.write("proc/net/tcp6", header + six)
    (machine.root / "proc/77/fd").mkdir(parents=True)
    (machine.root / "proc/77/fd/3").symlink_to("socket:[4711]")
    (machine.root / "proc/77/fd/4").symlink_to("/dev/null")
    machine.write("proc/77/cgroup", "0::/system.slice/nginx.service\n")
    (machine.root / "proc/78/fd").mkdir(parents=True)
    (machine.root / "proc/78/fd/3").symlink_to("socket:[4713]")
    machine.write("proc/78/cgroup", "0::/user.slice/session-1.scope\n")
    machine.write("proc/78/comm", "python3\n")
    (machine.root / "proc/1/fd").mkdir(parents=True)
    (machine.root / "proc/1/fd/9").symlink_to("socket:[4711]")
    machine.write("proc/1/comm", "systemd\n")
    assert host_capacity.listeners(machine.root) == [{"port": 443, "owner": "nginx.service"}, {"port": 8080, "owner": "python3"}]


def test_listener_of_another_user_has_no_name(machine: Machine) -> None:
    machine.write("proc/net/tcp", "header\n 0: 0:0016 0:0 0A 0:0 0:0 0 0 0 99 1 x\n")
    assert host_capacity.listeners(machine.root) == [{"port": 22, "owner": ""}]


def test_this_very_machine() -> None:
    root = Path("/")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = host_capacity.survey(root, "/var/lib")
    assert port in [each["port"] for each in found["listeners"]]
    assert host_capacity.capacity(root, "/var/lib")["memory_mb"] > 100
