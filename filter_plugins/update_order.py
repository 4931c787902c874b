"""Filter update_order: in which order hosts are taken out of service for updates; update_cut_off: which ones a cut-off run has left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: update_order
short_description: Hosts in the order of their updates, leaders last
description:
  - Hosts of one tier follow each other; a host with several services comes with its latest tier.
  - Within a tier those that lead come last, so that a leader moves once and to a host that is done.
  - C(update_cut_off) in the same file takes lines of the record and returns hosts that left and are not done; they come O(first).
positional: _input, tiers, first
options:
  _input:
    description: 'Hosts with C(name), C(services) and C(leads).'
    type: list
    elements: dict
    required: true
  tiers: {description: 'Services, the first ones first.', type: list, elements: str, required: true}
  first: {description: Names of hosts that come before all others., type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ [{'name': 'db1', 'services': ['postgres'], 'leads': true}] | update_order(['app', 'postgres']) }}"
"""

RETURN = r"""
_value:
  description: Names of the hosts.
  type: list
"""


def update_order(hosts: Iterable[Mapping[str, Any]], tiers: Sequence[str], first: Sequence[str] = ()) -> list[str]:
    """See DOCUMENTATION."""

    def place(host: Mapping[str, Any]) -> tuple[bool, int, bool, str]:
        tier = max((tiers.index(service) for service in host["services"] if service in tiers), default=-1)
        return host["name"] not in first, tier, bool(host["leads"]), str(host["name"])

    return [str(host["name"]) for host in sorted(hosts, key=place)]


def update_cut_off(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Hosts that left service by these lines of one change, and did not come to their end."""
    found: dict[str, bool] = {}
    for line in lines:
        if line.get("phase") in ("leaves", "host"):
            found[str(line.get("host"))] = line["phase"] == "leaves"
    return [host for host, away in found.items() if away]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"update_order": update_order, "update_cut_off": update_cut_off}
