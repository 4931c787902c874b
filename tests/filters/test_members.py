from __future__ import annotations

from typing import Any

import pytest

from fleets import host
from host_share import SizingError
from members import capacities, members

HOSTVARS: dict[str, dict[str, Any]] = {
    "db1": {"ansible_host": "192.0.2.1", "host_capacity": host(), "group_names": ["postgres"]},
    "db2": {"ansible_host": "192.0.2.2", "host_capacity": host(4), "group_names": ["etcd", "postgres"]},
    "bare": {"ansible_host": "", "host_capacity": None},
    "lone": {"host_capacity": host()},
    "odd": {"ansible_host": "192.0.2.9", "host_capacity": "8 CPUs", "group_names": ["app"]},
}


def test_members_keep_the_order_of_the_inventory() -> None:
    assert members(["db2", "db1"], HOSTVARS) == [{"name": "db2", "address": "192.0.2.2"}, {"name": "db1", "address": "192.0.2.1"}]
    assert members([], HOSTVARS) == []


def test_capacities_carry_host_and_services() -> None:
    assert capacities(["db2"], HOSTVARS) == [{"vcpus": 4, "memory_mb": 16384, "disk_gb": 160, "host": "db2", "services": ["etcd", "postgres"]}]


@pytest.mark.parametrize(
    ("function", "hosts", "message"),
    [
        (
            members,
            ["bare"],
            "members: bare has no ansible_host; give it its address in the inventory's hosts.yml, like ansible_host: 192.0.2.10",
        ),
        (
            members,
            ["ghost"],
            "members: ghost has no ansible_host; give it its address in the inventory's hosts.yml, like ansible_host: 192.0.2.10",
        ),
        (members, "db1", "members: 'db1' is no list of hosts; pass groups['NAME'] of a group that the inventory has"),
        (members, {"db1": 1}, "members: {'db1': 1} is no list of hosts; pass groups['NAME'] of a group that the inventory has"),
        (members, None, "members: None is no list of hosts; pass groups['NAME'] of a group that the inventory has"),
        (capacities, 7, "capacities: 7 is no list of hosts; pass groups['NAME'] of a group that the inventory has"),
        (
            capacities,
            ["bare"],
            "capacities: bare has no host_capacity; run playbooks/preflight.yml without --limit once, which measures every host, or declare it",
        ),
        (
            capacities,
            ["lone"],
            "capacities: lone has no group_names; it is in no group; add it to one",
        ),
        (
            capacities,
            ["ghost"],
            "capacities: ghost has no host_capacity; run playbooks/preflight.yml without --limit once, which measures every host, or declare it",
        ),
        (
            capacities,
            ["odd"],
            "capacities: host_capacity of odd is '8 CPUs', but must be a dict; "
            "run playbooks/preflight.yml without --limit once, which measures every host, or declare it",
        ),
    ],
)
def test_a_host_without_what_is_asked_is_named(function: Any, hosts: Any, message: str) -> None:
    with pytest.raises(SizingError) as raised:
        function(hosts, HOSTVARS)
    assert str(raised.value) == message


class Undefined:
    """Stands for what Ansible gives for a variable that cannot be templated: the name of the class says so."""


class VaultExceptionMarker:
    """As above, in ansible-core 2.19."""


@pytest.mark.parametrize("value", [Undefined(), VaultExceptionMarker(), None, ""])
def test_what_cannot_be_templated_counts_as_missing(value: object) -> None:
    with pytest.raises(SizingError, match="^members: db1 has no ansible_host; "):
        members(["db1"], {"db1": {"ansible_host": value}})
