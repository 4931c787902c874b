"""Real connections between hosts; what listens are small servers on the ports of the table of flows."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest
from conftest import PROJECT, address, wait
from testinfra.host import Host

Hosts = dict[str, Host]
# Where something listens: everything that a flow leads to, and one port that no flow names.
PORTS = {"web1": (8000, 9100, 4444), "redis1": (6379, 9100, 4444), "mon1": (9090, 4444)}
OPEN = {("web1", "redis1", 6379), ("mon1", "web1", 8000), ("mon1", "web1", 9100), ("mon1", "redis1", 9100)}
PAIRS = [(source, target, port) for target, ports in PORTS.items() for port in ports for source in PORTS if source != target]


@pytest.fixture(scope="module", autouse=True)
def _listeners(hosts: Hosts) -> Iterator[None]:
    for name, ports in PORTS.items():
        for port in ports:
            hosts[name].check_output(f"systemd-run --quiet --collect --unit=listen-{port} python3 -m http.server --directory /run {port}")
    for name, ports in PORTS.items():
        wait(lambda name=name, ports=ports: all(hosts[name].socket(f"tcp://0.0.0.0:{port}").is_listening for port in ports), 20, f"{name} listens")  # type: ignore[misc]
    yield
    for name, ports in PORTS.items():
        hosts[name].run("systemctl stop " + " ".join(f"listen-{port}" for port in ports))


def connects(source: Host, target: str, port: int) -> bool:
    return bool(source.run(f"timeout 2 bash -c '</dev/tcp/{target}/{port}'").rc == 0)


@pytest.mark.parametrize(("source", "target", "port"), PAIRS, ids=lambda value: str(value))
def test_the_table_of_flows_decides(hosts: Hosts, source: str, target: str, port: int) -> None:
    assert connects(hosts[source], address(hosts[target]), port) == ((source, target, port) in OPEN)


def test_a_hosts_own_services_reach_each_other(hosts: Hosts) -> None:
    assert connects(hosts["web1"], "127.0.0.1", 4444)
    assert connects(hosts["web1"], address(hosts["web1"]), 4444)


@pytest.mark.parametrize("name", PORTS)
def test_operators_come_in_and_see_no_more_than_their_ports(hosts: Hosts, name: str) -> None:
    """From outside: what another host sends would meet that host's own rules first."""
    target = address(hosts[name])
    socket.create_connection((target, 22), timeout=3).close()
    with pytest.raises(OSError, match="timed out"):
        socket.create_connection((target, 4444), timeout=2)


def test_operators_see_the_figures(hosts: Hosts) -> None:
    socket.create_connection((address(hosts["mon1"]), 9090), timeout=3).close()


def test_what_is_refused_is_told_at_once_and_a_stranger_is_named(hosts: Hosts) -> None:
    refused = hosts["redis1"].run(f"timeout 2 bash -c '</dev/tcp/{address(hosts['web1'])}/8000'")
    assert refused.rc == 1, "the own firewall says no at once; 124 would be silence"
    assert "tcp/4444 (python3)" in hosts["web1"].check_output("obcms-firewall strangers")


def test_rules_that_lock_out_go_away_by_themselves(hosts: Hosts) -> None:
    host = hosts["web1"]
    kept = host.check_output("obcms-firewall show")
    rendered = "/etc/obcms/firewall.nft"
    host.check_output(f"cp {rendered} /run/firewall.rendered && sed -i '/dport 22 /d' {rendered}")
    try:
        host.check_output("obcms-firewall try 4")
        with pytest.raises(OSError, match="timed out"):
            socket.create_connection((address(host), 22), timeout=1.5)
        wait(lambda: host.check_output("obcms-firewall show") == kept, 10, "the rules before are back")
        assert "nothing is on trial" in host.run("obcms-firewall keep").stderr
    finally:
        host.check_output(f"cp /run/firewall.rendered {rendered}")
    socket.create_connection((address(host), 22), timeout=3).close()
    assert host.check_output("obcms-firewall state") == "current"


def test_other_tables_are_left_alone(hosts: Hosts) -> None:
    host = hosts["web1"]
    host.check_output("nft add table inet somebody && systemctl restart obcms-firewall.service")
    assert "table inet somebody" in host.check_output("nft list tables")
    assert host.check_output("obcms-firewall state") == "current"
    host.check_output("nft delete table inet somebody")


def test_rules_are_there_after_a_reboot(hosts: Hosts) -> None:
    host = hosts["redis1"]
    subprocess.run(["docker", "restart", f"{PROJECT}-redis1"], check=True, capture_output=True)
    wait(
        lambda: host.run("systemctl is-system-running --wait").rc >= 0 and host.run("obcms-firewall state").stdout.strip() == "current", 60, "current"
    )
