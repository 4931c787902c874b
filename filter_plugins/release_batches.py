"""Filters of a release: `release_batches` says which hosts go together, `release_wait` how long a turn waits for the balancers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: release_batches
short_description: The batches of a release, and the turns of each
description:
  - A batch is watched as a whole before the next one begins. Within a batch hosts go in turns, so that enough of them serve at any moment.
  - C(release_wait) in the same file returns how many seconds a turn has to wait until enough other hosts are used by the balancers again.
positional: _input
options:
  _input:
    description: Hosts, in their order.
    type: list
    elements: str
    required: true
  sizes:
    description: Size of each batch, a number of hosts or a share of all of them such as C(25%). The last one is repeated.
    type: list
    elements: raw
    default: [1, 25%, 100%]
  done:
    description: Hosts that run the release already; they stay out.
    type: list
    elements: str
    default: []
  serving_percent:
    description: Share of the hosts that go on serving while others change.
    type: int
    default: 50
"""

EXAMPLES = r"""
- vars:
    # canary [web1]; batch 2 [web2]; batch 3 [web3, web4], both at once, because two of four go on serving
    batches: "{{ ['web1', 'web2', 'web3', 'web4'] | release_batches }}"
  ansible.builtin.debug:
    var: batches
"""

RETURN = r"""
_value:
  description: Batches with C(name), C(hosts) and C(turns) (lists of hosts).
  type: list
  elements: dict
"""

WHO = "release_batches"


class BatchError(ValueError):
    """Batches that were asked for wrongly."""


def _size(value: Any, count: int) -> int:
    """Hosts of one batch; a share is rounded down as Ansible's `serial` does, but never to nothing."""
    text = str(value).strip()
    number = text.removesuffix("%")
    if not number.isdigit() or int(number) == 0 or (text.endswith("%") and int(number) > 100):
        raise BatchError(f"{WHO}: {value!r} is no size of a batch; use a number of hosts or a share, like release_batches: [1, 25%, 100%]")
    return max(1, count * int(number) // 100) if text.endswith("%") else int(number)


def _at_once(count: int, serving_percent: Any) -> int:
    """Hosts that may be away at the same time; a single host has to go alone."""
    percent = int(serving_percent)
    if not 0 <= percent <= 100:
        raise BatchError(f"{WHO}: release_serving_percent is {percent}; it is a share from 0 to 100")
    return max(1, count - -(-count * percent // 100))


def release_batches(
    hosts: Sequence[str],
    sizes: Sequence[Any] = (1, "25%", "100%"),
    done: Sequence[str] = (),
    serving_percent: Any = 50,
) -> list[dict[str, Any]]:
    """Batches and turns; see DOCUMENTATION."""
    if not sizes:
        raise BatchError(f"{WHO}: release_batches is empty; use a list like [1, 25%, 100%]")
    everybody, away = len(hosts), _at_once(len(hosts), serving_percent)
    left: list[str] = list(hosts)
    batches: list[list[str]] = []
    while left:
        size = _size(sizes[min(len(batches), len(sizes) - 1)], everybody)
        batches.append(left[:size])
        left = left[size:]
    named = [("canary" if number == 1 and len(batches) > 1 else f"batch {number}", batch) for number, batch in enumerate(batches, 1)]
    found = []
    for name, batch in named:
        todo = [host for host in batch if host not in done]
        if todo:
            found.append({"name": name, "hosts": todo, "turns": [todo[i : i + away] for i in range(0, len(todo), away)]})
    return found


def release_wait(turn: Sequence[str], hosts: Sequence[str], opened: Mapping[str, Any], now: Any, settle: Any, serving_percent: Any = 50) -> int:
    """Seconds until enough hosts outside of the turn are used by the balancers.

    A balancer leaves a host that refused connections alone for a while (fail_timeout): a host counts again only some seconds after its door opened.
    """
    needed = min(len(hosts) - _at_once(len(hosts), serving_percent), len([host for host in hosts if host not in turn]))
    ready = sorted(float(opened[host]) + float(settle) if host in opened else 0.0 for host in hosts if host not in turn)
    if needed <= 0:
        return 0
    return max(0, math.ceil(ready[needed - 1] - float(now)))


def release_turns(hosts: Sequence[str], everybody: Sequence[str], serving_percent: Any = 50) -> list[list[str]]:
    """Hosts in turns of as many as the others can carry."""
    away = _at_once(len(everybody), serving_percent)
    return [list(hosts[i : i + away]) for i in range(0, len(hosts), away)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"release_batches": release_batches, "release_turns": release_turns, "release_wait": release_wait}
