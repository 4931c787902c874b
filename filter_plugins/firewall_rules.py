"""Filter firewall_rules: what one host may be asked and may ask, from the table of all flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: firewall_rules
short_description: Rules of one host's firewall from the table of flows
description:
  - Keeps the flows that begin or end on the host, with the addresses of the other side. What a host asks of itself needs no rule.
  - Each mistake in the table is an error that names the flow and what is allowed.
options:
  _input:
    description:
      - The flows. Each has C(from), C(to) (a group, or a list of them; C(every), C(operators) and C(world) are known besides), C(why), and
        C(port), the name of one of O(ports). C(protocol) is C(tcp) unless said otherwise; C(vrrp) has no port.
    type: list
    elements: dict
    required: true
  groups:
    description: Group to its hosts, each with C(name) and C(address), or to addresses and networks as they are.
    type: dict
    required: true
  ports:
    description: Name to number.
    type: dict
    required: true
  every:
    description: All hosts, each with C(name) and C(address).
    type: list
    elements: dict
    required: true
  operators:
    description: Networks from which people and Ansible come.
    type: list
    elements: str
    required: true
  host_groups:
    description: Groups of the host.
    type: list
    elements: str
    required: true
  host_address:
    description: Its own address.
    type: str
    required: true
"""

EXAMPLES = r"""
- vars:
    flows: [{from: lb, to: app, port: app, why: requests}]
    groups: {lb: [{name: lb1, address: 192.0.2.11}], app: [{name: web1, address: 192.0.2.21}]}
    # {"in": [{"protocol": "tcp", "port": 8000, "v4": ["192.0.2.11"], "v6": [], "why": "lb to app: requests"}], "out": [], "listens": ["tcp/8000"]}
    rules: "{{ flows | firewall_rules(groups, {'app': 8000}, [], [], ['app'], '192.0.2.21') }}"
  ansible.builtin.debug:
    var: rules
"""

RETURN = r"""
_value:
  description:
    - C(in) and C(out), lists of C(protocol), C(port) (0 where the protocol has none), C(v4) and C(v6) (sorted addresses and networks of the other
      side), and C(why); and C(listens), the sorted C(protocol/port) that some flow leads to, be it from the host itself.
  type: dict
"""

WHO = "firewall_rules"
PROTOCOLS = ("tcp", "udp", "vrrp")
WITHOUT_PORT = ("vrrp",)
WORLD = ("0.0.0.0/0", "::/0")
KEYS = {"from", "to", "port", "protocol", "why"}
HIGHEST_PORT = 65535


class FlowError(ValueError):
    """A table of flows that cannot be meant."""


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(name) for name in value or ()]


def _shown(flow: Mapping[str, Any]) -> str:
    return f"{'+'.join(_names(flow.get('from')))} to {'+'.join(_names(flow.get('to')))}"


def _check(flow: Mapping[str, Any], known: Sequence[str], ports: Mapping[str, Any]) -> None:
    """FlowError when a flow says something that has no meaning."""
    shown = _shown(flow)
    if unknown := sorted(set(flow) - KEYS):
        raise FlowError(f"{WHO}: the flow {shown} has {', '.join(unknown)}; allowed are {', '.join(sorted(KEYS))}")
    for side in ("from", "to"):
        names = _names(flow.get(side))
        if not names:
            raise FlowError(f"{WHO}: the flow {shown} has no {side!r}; name a group, every, operators or world")
        if strangers := [name for name in names if name not in known]:
            raise FlowError(f"{WHO}: {', '.join(strangers)} in the flow {shown} is no group; known are {', '.join(known)}")
    if "world" in _names(flow["from"]) and "world" in _names(flow["to"]):
        raise FlowError(f"{WHO}: the flow {shown} touches no host of the platform; remove it")
    if not str(flow.get("why") or "").strip():
        raise FlowError(f"{WHO}: the flow {shown} does not say why; add why: to it")
    protocol = flow.get("protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise FlowError(f"{WHO}: protocol {protocol!r} of the flow {shown} is unknown; allowed are {', '.join(PROTOCOLS)}")
    if protocol in WITHOUT_PORT:
        return
    number = ports.get(str(flow.get("port")))
    if number is None:
        raise FlowError(f"{WHO}: port {flow.get('port')!r} of the flow {shown} is not in platform_ports; known are {', '.join(sorted(ports))}")
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= HIGHEST_PORT:
        raise FlowError(f"{WHO}: platform_ports.{flow['port']} is {number!r}; a port is a whole number from 1 to {HIGHEST_PORT}")


def _rules(
    flow: Mapping[str, Any], here: str, there: str, mine: set[str], addresses: Mapping[str, Sequence[str]], own: str, ports: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rule of one flow in one direction, when the host is on this side of it."""
    if not mine & set(_names(flow[here])):
        return
    others = sorted({address for name in _names(flow[there]) for address in addresses[name]} - {own})
    networks = [ipaddress.ip_interface(address).network for address in others]
    if not networks:
        return
    yield {
        "protocol": flow.get("protocol", "tcp"),
        "port": 0 if flow.get("protocol") in WITHOUT_PORT else ports[flow["port"]],
        "v4": [str(each).removesuffix("/32") for each in sorted(n for n in networks if n.version == 4)],
        "v6": [str(each).removesuffix("/128") for each in sorted(n for n in networks if n.version == 6)],
        "why": f"{_shown(flow)}: {flow['why']}",
    }


def firewall_rules(
    flows: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[Mapping[str, str] | str]],
    ports: Mapping[str, Any],
    every: Sequence[Mapping[str, str]],
    operators: Sequence[str],
    host_groups: Sequence[str],
    host_address: str,
) -> dict[str, Any]:
    """Rules of one host, in the order of the table; FlowError names a flow that is wrong."""
    addresses = {name: [host if isinstance(host, str) else str(host["address"]) for host in hosts] for name, hosts in groups.items()}
    addresses |= {"every": [str(host["address"]) for host in every], "operators": list(operators), "world": list(WORLD)}
    for name, listed in addresses.items():
        for address in listed:
            try:
                ipaddress.ip_interface(address)
            except ValueError as error:
                raise FlowError(f"{WHO}: {address!r} of {name} is no address; use numbers like 192.0.2.10 or 192.0.2.0/24") from error
    mine = {*host_groups, "every"}
    seen: set[tuple[Any, ...]] = set()
    incoming: list[dict[str, Any]] = []
    outgoing: list[dict[str, Any]] = []
    listens: set[str] = set()
    for flow in flows:
        _check(flow, list(addresses), ports)
        key = (tuple(sorted(_names(flow["from"]))), tuple(sorted(_names(flow["to"]))), flow.get("protocol", "tcp"), flow.get("port"))
        if key in seen:
            raise FlowError(f"{WHO}: the flow {_shown(flow)}, port {flow.get('port')}, is in the table twice; remove one")
        seen.add(key)
        if mine & set(_names(flow["to"])) and flow.get("protocol") not in WITHOUT_PORT:
            listens.add(f"{flow.get('protocol', 'tcp')}/{ports[flow['port']]}")
        incoming += _rules(flow, "to", "from", mine, addresses, host_address, ports)
        outgoing += _rules(flow, "from", "to", mine, addresses, host_address, ports)
    return {"in": incoming, "out": outgoing, "listens": sorted(listens)}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"firewall_rules": firewall_rules}
