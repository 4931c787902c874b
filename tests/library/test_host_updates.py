"""What waits on a host, from what its tools say."""

from __future__ import annotations

import pytest

import host_updates


def test_packages_of_a_simulated_upgrade() -> None:
    text = "NOTE: only a simulation\nInst libc6 [2.41-1] (2.41-2 Debian:13 [amd64])\nConf libc6 (2.41-2)\nRemv old [1]\nInst nginx [1] (2 x)\n"
    assert host_updates.pending(text) == ["libc6", "nginx"]
    assert host_updates.pending("") == []


def test_the_newest_kernel_is_by_number_not_by_letter() -> None:
    installed = ["6.12.9+deb13-amd64", "6.12.41+deb13-amd64", "6.12.38+deb13-amd64"]
    assert host_updates.newer_kernel("6.12.9+deb13-amd64", installed) == "6.12.41+deb13-amd64"
    assert host_updates.newer_kernel("6.12.41+deb13-amd64", installed) == ""
    assert host_updates.newer_kernel("6.12.41+deb13-amd64", []) == ""


def test_only_replaced_programs_count() -> None:
    maps = (
        "7f00-7f01 r-xp 00000000 fe:01 77 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n"
        "7f02-7f03 rw-p 00000000 00:01 78 /dev/zero (deleted)\n"
        "7f02-7f03 rw-p 00000000 00:01 79 /tmp/some file (deleted)\n"
        "7f04-7f05 r-xp 00000000 fe:01 80 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
        "7f06-7f07 rw-p 00000000 00:00 0\n"
        "7f08-7f09 r-xp 00000000 fe:01 81 /lib/x (deleted)\n"
    )
    assert host_updates.replaced(maps) == ["/lib/x", "/usr/lib/x86_64-linux-gnu/libssl.so.3"]


def test_enabled_services_only() -> None:
    text = "Id=nginx.service\nUnitFileState=enabled\n\nId=getty@tty1.service\nUnitFileState=static\n\nId=ssh.service\nUnitFileState=enabled\n"
    assert host_updates.running(text) == ["nginx.service", "ssh.service"]


def test_this_start_has_a_name() -> None:
    identity, start = host_updates.boot().split()
    assert len(identity) == 36
    assert start.isdigit()


def test_failed_units_do_not_carry_a_name_that_makes_the_task_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"list-units": "obcms.service loaded failed failed OBCMS\n\n", "show": "Id=ssh.service\nUnitFileState=enabled\n"}
    monkeypatch.setattr(host_updates, "run", lambda *command: said.get(command[1], ""))
    monkeypatch.setattr(host_updates, "reasons", lambda container: [])
    monkeypatch.setattr(host_updates, "boot", lambda: "this one")
    found = host_updates.look(False, True)
    assert found["failed_units"] == ["obcms.service"]
    assert found["running"] == ["ssh.service"]
    assert not {"failed", "unreachable", "skipped"} & set(found)
