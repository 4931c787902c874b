"""The table of flows, host by host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firewall_rules import FlowError, firewall_rules

PROJECT = Path(__file__).parents[2]
FLOWS = yaml.safe_load((PROJECT / "group_vars/all/flows.yml").read_text())["firewall_flows"]
PORTS = yaml.safe_load((PROJECT / "group_vars/all/ports.yml").read_text())["platform_ports"]
GROUPS = {
    "lb": [{"name": "lb1", "address": "192.0.2.11"}, {"name": "virtual", "address": "192.0.2.10"}],
    "app": [{"name": "web2", "address": "192.0.2.22"}, {"name": "web1", "address": "192.0.2.21"}],
    "six": [{"name": "new", "address": "2001:db8::1"}],
    "nobody": [],
}
EVERY = [*GROUPS["app"], GROUPS["lb"][0]]
WEB1 = {"host_groups": ["app"], "host_address": "192.0.2.21"}


def rules(*flows: dict[str, Any], host: dict[str, Any] | None = None, ports: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {"operators": ["198.51.100.0/24"], "every": EVERY, **(host or WEB1), **more}
    return firewall_rules(flows, GROUPS, ports or {"app": 8000, "ssh": 22, "dns": 53}, **inputs)


def flow(**changes: Any) -> dict[str, Any]:
    return {"from": "lb", "to": "app", "port": "app", "why": "requests", **changes}


def test_both_ends_of_a_flow() -> None:
    rule = {"protocol": "tcp", "port": 8000, "v6": [], "why": "lb to app: requests"}
    assert rules(flow()) == {"in": [{**rule, "v4": ["192.0.2.10", "192.0.2.11"]}], "out": [], "listens": ["tcp/8000"]}
    balancer = {"host_groups": ["lb"], "host_address": "192.0.2.11"}
    assert rules(flow(), host=balancer) == {"in": [], "out": [{**rule, "v4": ["192.0.2.21", "192.0.2.22"]}], "listens": []}
    assert rules(flow(), host={"host_groups": ["backup"], "host_address": "192.0.2.71"}) == {"in": [], "out": [], "listens": []}


def test_a_host_needs_no_rule_for_itself() -> None:
    assert rules(flow(**{"from": "app"}))["in"][0]["v4"] == ["192.0.2.22"]
    alone = {"host_groups": ["six"], "host_address": "2001:db8::1"}
    assert rules(flow(**{"from": "six", "to": "six"}), host=alone) == {"in": [], "out": [], "listens": ["tcp/8000"]}


def test_a_group_may_list_plain_addresses_and_whole_networks() -> None:
    groups = {"app": GROUPS["app"], "office": ["192.0.2.90", "198.51.100.7/24", "2001:db8::7/64"]}
    (rule,) = firewall_rules([flow(**{"from": "office"})], groups, {"app": 8000}, EVERY, [], **WEB1)["in"]
    assert (rule["v4"], rule["v6"]) == (["192.0.2.90", "198.51.100.0/24"], ["2001:db8::/64"])


def test_families_operators_and_the_world() -> None:
    found = rules(
        flow(**{"from": ["six", "lb"]}), flow(**{"from": "operators", "port": "ssh"}), flow(**{"from": "every", "to": "world", "port": "dns"})
    )
    assert [(rule["v4"], rule["v6"]) for rule in found["in"]] == [(["192.0.2.10", "192.0.2.11"], ["2001:db8::1"]), (["198.51.100.0/24"], [])]
    assert [(rule["port"], rule["v4"], rule["v6"]) for rule in found["out"]] == [(53, ["0.0.0.0/0"], ["::/0"])]
    assert found["listens"] == ["tcp/22", "tcp/8000"]


def test_a_flow_from_a_group_without_hosts_gives_no_rule() -> None:
    assert rules(flow(**{"from": "nobody"})) == {"in": [], "out": [], "listens": ["tcp/8000"]}


def test_a_protocol_without_a_port() -> None:
    found = rules({"from": "lb", "to": "app", "protocol": "vrrp", "why": "x"})
    assert (found["in"][0]["protocol"], found["in"][0]["port"], found["listens"]) == ("vrrp", 0, [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (flow(to="apps"), "apps in the flow lb to apps is no group; known are lb, app, six, nobody, every, operators, world"),
        (
            flow(to=["apps", "app", "all"]),
            "apps, all in the flow lb to apps+app+all is no group; known are lb, app, six, nobody, every, operators, world",
        ),
        (flow(**{"from": []}), "the flow  to app has no 'from'; name a group, every, operators or world"),
        (flow(to=None), "the flow lb to  has no 'to'; name a group, every, operators or world"),
        (flow(port="ap"), "port 'ap' of the flow lb to app is not in platform_ports; known are app, dns, ssh"),
        (flow(protocol="sctp"), "protocol 'sctp' of the flow lb to app is unknown; allowed are tcp, udp, vrrp"),
        (flow(why=" "), "the flow lb to app does not say why; add why: to it"),
        (flow(ports="app", state="x"), "the flow lb to app has ports, state; allowed are from, port, protocol, to, why"),
        (flow(**{"from": ["lb", "world"], "to": "world"}), "the flow lb+world to world touches no host of the platform; remove it"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(FlowError) as raised:
        rules(wrong)
    assert str(raised.value) == f"firewall_rules: {message}"


def test_a_flow_that_is_there_twice() -> None:
    rules(flow(), flow(protocol="udp"), flow(port="ssh"), flow(**{"from": ["lb", "six"]}), flow(to="six"), flow(**{"from": "app", "to": "lb"}))
    with pytest.raises(FlowError, match="^firewall_rules: the flow lb to app, port app, is in the table twice; remove one$"):
        rules(flow(), flow(protocol="tcp", why="another reason"))


@pytest.mark.parametrize("number", [0, 65536, "8000", True, 1.5])
def test_a_port_that_is_none(number: Any) -> None:
    with pytest.raises(FlowError) as raised:
        rules(flow(), ports={"app": number})
    assert str(raised.value) == f"firewall_rules: platform_ports.app is {number!r}; a port is a whole number from 1 to 65535"


@pytest.mark.parametrize("number", [1, 65535])
def test_the_first_and_the_last_port(number: int) -> None:
    assert rules(flow(), ports={"app": number})["listens"] == [f"tcp/{number}"]


def test_an_address_that_is_none() -> None:
    with pytest.raises(FlowError, match="^firewall_rules: 'office' of operators is no address; use numbers like 192.0.2.10 or 192.0.2.0/24$"):
        rules(flow(), operators=["office"])


NAMES = ["lb", "app", "celery", "postgres", "redis", "sentinel", "etcd", "monitoring", "backup"]
HOSTS = st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=12)


@given(HOSTS)
def test_what_one_host_may_ask_the_other_may_be_asked(services: list[set[str]]) -> None:
    """The two ends of every connection agree, on any fleet: nothing is let out that nobody lets in, and the other way round."""
    hosts = [{"name": f"h{number}", "address": f"192.0.2.{number + 1}"} for number in range(len(services))]
    groups = {name: [host for host, mine in zip(hosts, services, strict=True) if name in mine] for name in NAMES}
    asks, asked = set(), set()
    for host, mine in zip(hosts, services, strict=True):
        found = firewall_rules(FLOWS, groups, PORTS, hosts, ["198.51.100.0/24"], sorted(mine), host["address"])
        for rule in found["out"]:
            asks |= {(host["address"], there, rule["protocol"], rule["port"]) for there in rule["v4"] if "/" not in there}
        for rule in found["in"]:
            asked |= {(there, host["address"], rule["protocol"], rule["port"]) for there in rule["v4"] if "/" not in there}
    assert asks == asked
