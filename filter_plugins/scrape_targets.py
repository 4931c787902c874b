"""Filter scrape_targets: every host once, with the tier it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: scrape_targets
short_description: Every host of the platform once, with its tier
description:
  - Turns members by tier into one list, sorted by name. A host in several tiers gets the first one; the order of the input decides.
positional: _input
options:
  _input:
    description: Lists of C({name, address}) by tier.
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    hosts: "{{ {'database': database_members, 'cache': cache_members} | scrape_targets }}"
  ansible.builtin.debug:
    var: hosts
"""

RETURN = r"""
_value:
  description: C({name, address, tier}) of every host, sorted by name.
  type: list
  elements: dict
"""


def scrape_targets(members: Any) -> list[dict[str, str]]:
    """Every host once; ValueError when a name comes with two addresses."""
    if not isinstance(members, Mapping):
        raise ValueError(f"scrape_targets: {members!r} is no dict; pass lists of {{name, address}} by tier, like {{'cache': cache_members}}")
    found: dict[str, dict[str, str]] = {}
    for tier, hosts in members.items():
        for host in hosts:
            name, address = str(host["name"]), str(host["address"])
            known = found.setdefault(name, {"name": name, "address": address, "tier": str(tier)})
            if known["address"] != address:
                raise ValueError(
                    f"scrape_targets: {name} has the address {known['address']} in tier {known['tier']} and {address} in tier {tier}; "
                    "a host has one ansible_host"
                )
    return [found[name] for name in sorted(found)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"scrape_targets": scrape_targets}
