"""Filters majority and replicas_for_majority: how many of a group must agree."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError

DOCUMENTATION = r"""
name: majority
short_description: How many members are more than half
description:
  - C(majority) is the smallest number of members that no other part of the group can also reach. It is Sentinel's quorum.
  - C(replicas_for_majority) in the same file is the number of replicas that a Redis master needs to be, with them, a majority.
    It is Redis' C(min-replicas-to-write). Two members are the exception, 0, because there the loss of either would stop all writes.
positional: _input
options:
  _input:
    description: The members.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- vars:
    quorum: "{{ sentinel_members | majority }}"  # 3 members: 2
    needed: "{{ redis_members | replicas_for_majority }}"  # 3 members: 1; 5 members: 2; 1 or 2 members: 0
  ansible.builtin.debug:
    var: quorum
"""

RETURN = r"""
_value:
  description: The number.
  type: int
"""

# With fewer members there is no part that is more than the rest.
SMALLEST_GROUP = 3


def _count(who: str, members: Any) -> int:
    if isinstance(members, (str, Mapping)) or not isinstance(members, Iterable):
        raise SizingError(f"{who}: {members!r} is no list; pass the list of members")
    count = len(list(members))
    if count == 0:
        raise SizingError(f"{who}: the list is empty, but 1 member at least is needed; add a host to the group")
    return count


def majority(members: Any) -> int:
    """More than half."""
    return _count("majority", members) // 2 + 1


def replicas_for_majority(members: Any) -> int:
    """Replicas beside the master that make a majority with it."""
    count = _count("replicas_for_majority", members)
    return count // 2 if count >= SMALLEST_GROUP else 0


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"majority": majority, "replicas_for_majority": replicas_for_majority}
