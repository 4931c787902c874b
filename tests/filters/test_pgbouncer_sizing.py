from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import at_least, host
from host_share import SizingError
from pgbouncer_sizing import RESERVED, RESERVED_SLOTS, pgbouncer_sizing


def sizes(poolers: int, max_connections: int, **more: Any) -> dict[str, Any]:
    return pgbouncer_sizing(host(), ["app"], poolers=poolers, max_connections=max_connections, **more)


def test_six_poolers_and_500_connections_give_the_pool_of_the_facts() -> None:
    assert sizes(6, 500) == {
        "max_client_conn": 1000,
        "default_pool_size": 50,
        "reserve_pool_size": 5,
        "max_db_connections": 55,
        "replica_pool_size": 25,
        "replica_max_db_connections": 25,
    }


def test_twenty_connections_are_kept() -> None:
    assert RESERVED == 20
    assert RESERVED_SLOTS == {
        "superuser_reserved_connections": 3,
        "patroni": 3,
        "monitoring": 4,
        "migrations": 4,
        "backup": 2,
        "operators": 4,
    }


@pytest.mark.parametrize(
    ("poolers", "connections", "pools"),
    [
        (1, 500, (50, 5, 50)),
        (2, 500, (50, 5, 50)),
        (6, 100, (9, 0, 4)),
        (1, 22, (1, 0, 1)),
        (68, 500, (5, 0, 2)),
        (8, 500, (39, 3, 18)),
        (5, 500, (50, 5, 41)),
        (4, 459, (50, 5, 50)),
    ],
)
def test_other_fleets(poolers: int, connections: int, pools: tuple[int, int, int]) -> None:
    found = sizes(poolers, connections)
    assert (found["default_pool_size"], found["reserve_pool_size"], found["replica_pool_size"]) == pools


def test_more_reserved_slots_leave_smaller_pools() -> None:
    assert sizes(6, 500, reserved=200)["default_pool_size"] == 32
    assert sizes(1, 3, reserved=0)["default_pool_size"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"poolers": 10, "max_connections": 39},
            "pgbouncer_sizing: 10 poolers x 2 + 20 reserved = 40 connections, but the database allows 39; "
            "raise postgres_settings.max_connections to 40 or more",
        ),
        ({"poolers": None}, "pgbouncer_sizing: poolers is None, but must be a whole number of 1 or more; correct it"),
        ({"poolers": 0}, "pgbouncer_sizing: poolers is 0, but must be a whole number of 1 or more; correct it"),
        ({"max_connections": 0}, "pgbouncer_sizing: max_connections is 0, but must be a whole number of 1 or more; correct it"),
        ({"reserved": -1}, "pgbouncer_sizing: reserved is -1, but must be a whole number of 0 or more; correct it"),
        ({"pool": 5}, "pgbouncer_sizing: unknown argument pool; allowed are poolers, max_connections and reserved"),
        ({"host_services": "app"}, "pgbouncer_sizing: host_services is 'app', but must be a list of group names; pass group_names"),
    ],
)
def test_wrong_input_gives_one_message_with_the_fix(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as raised:
        pgbouncer_sizing(**{"host_capacity": host(), "host_services": ["app"], "poolers": 6, "max_connections": 500, **arguments})
    assert str(raised.value) == message


@given(st.integers(1, 73), st.integers(1, 1000), st.integers(0, 100))
def test_all_pools_fit_on_one_database_host(poolers: int, connections: int, reserved: int) -> None:
    if connections - reserved < 2 * poolers:
        with pytest.raises(SizingError):
            sizes(poolers, connections, reserved=reserved)
        return
    found = sizes(poolers, connections, reserved=reserved)
    each = found["max_db_connections"] + found["replica_max_db_connections"]
    assert poolers * each + reserved <= connections
    assert min(found["default_pool_size"], found["replica_pool_size"]) >= 1
    assert found["default_pool_size"] + found["reserve_pool_size"] == found["max_db_connections"]


@given(st.integers(1, 73), st.integers(166, 1000), st.integers(1, 50))
def test_more_connections_never_give_smaller_pools(poolers: int, connections: int, more: int) -> None:
    smaller, larger = sizes(poolers, connections), sizes(poolers, connections + more)
    assert not at_least(larger, smaller)
