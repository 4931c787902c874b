"""Filters members and capacities: the hosts of a group as lists that roles can use."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError

DOCUMENTATION = r"""
name: members
short_description: The hosts of a group with their addresses
description:
  - Turns host names into a list of C({name, address}). Roles get such lists and never name a group.
  - C(capacities) in the same file returns C(host_capacity) of every host, with C(host) and C(services) added.
positional: _input, hostvars
options:
  _input:
    description: Host names, usually a group.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    redis_members: "{{ groups['redis'] | members(hostvars) }}"
    database_capacities: "{{ groups['postgres'] | capacities(hostvars) }}"
  ansible.builtin.debug:
    var: redis_members
"""

RETURN = r"""
_value:
  description: One entry per host, in the order of the inventory.
  type: list
  elements: dict
"""


def _names(who: str, hosts: Any) -> list[str]:
    if isinstance(hosts, (str, Mapping)) or not isinstance(hosts, Iterable):
        raise SizingError(f"{who}: {hosts!r} is no list of hosts; pass groups['NAME'] of a group that the inventory has")
    return [str(name) for name in hosts]


def _variable(who: str, host: str, hostvars: Any, name: str, fix: str) -> Any:
    """One variable of another host. Ansible raises its own kinds of errors for what is undefined there."""
    try:
        value = hostvars[host][name]
    except Exception as error:
        raise SizingError(f"{who}: {host} has no {name}; {fix}") from error
    if value is None or value == "" or type(value).__name__.endswith("Marker") or "Undefined" in type(value).__name__:
        raise SizingError(f"{who}: {host} has no {name}; {fix}")
    return value


def members(hosts: Any, hostvars: Any) -> list[dict[str, str]]:
    """Name and address of every host."""
    fix = "give it its address in the inventory's hosts.yml, like ansible_host: 192.0.2.10"
    return [{"name": host, "address": str(_variable("members", host, hostvars, "ansible_host", fix))} for host in _names("members", hosts)]


def capacities(hosts: Any, hostvars: Any) -> list[dict[str, Any]]:
    """What every host may use, and which services share it."""
    fix = "run playbooks/preflight.yml without --limit once, which measures every host, or declare it"
    found = []
    for host in _names("capacities", hosts):
        capacity = _variable("capacities", host, hostvars, "host_capacity", fix)
        if not isinstance(capacity, Mapping):
            raise SizingError(f"capacities: host_capacity of {host} is {capacity!r}, but must be a dict; {fix}")
        services = _variable("capacities", host, hostvars, "group_names", "it is in no group; add it to one")
        found.append({**capacity, "host": host, "services": [str(name) for name in services]})
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"members": members, "capacities": capacities}
