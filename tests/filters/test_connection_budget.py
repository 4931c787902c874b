from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from celery_sizing import celery_sizing
from connection_budget import connection_budget
from fleets import HOSTS, default_fleet, host
from gunicorn_sizing import gunicorn_sizing
from host_share import SizingError

WEB, WORKER, DATABASE = host(8, 8192), host(2, 2048), host(8, 16384)


def reference_fleet() -> dict[str, dict[str, Any]]:
    return default_fleet([DATABASE] * 3, [gunicorn_sizing(WEB, ["app"])] * 4, [celery_sizing(WORKER, ["celery"])] * 2)


def changed(tier: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """The reference fleet with settings overridden for a whole tier."""
    fleet = copy.deepcopy(reference_fleet())
    for each in fleet[tier].values():
        each.update(settings)
    return fleet


def changed_on(tier: str, name: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """The reference fleet with settings overridden on one host."""
    fleet = copy.deepcopy(reference_fleet())
    fleet[tier][name].update(settings)
    return fleet


def test_the_reference_fleet_fits() -> None:
    budget = connection_budget(reference_fleet())
    assert budget["ok"]
    assert budget["problems"] == []
    assert budget["headroom"] == {"clients": 932, "connections": 0, "memory_mb": 4288}
    assert budget["rows"][0] == {
        "tier": "clients",
        "host": "web1",
        "what": "17 workers x 2 threads x 2 databases",
        "count": 68,
        "limit": 1000,
        "unit": "connections",
    }
    assert {
        "tier": "clients",
        "host": "worker2",
        "what": "(4 processes + parent and beat) x 2 databases",
        "count": 12,
        "limit": 1000,
        "unit": "connections",
    } in budget["rows"]
    assert {"tier": "pools", "host": "web4", "what": "leader 55 + replica 25", "count": 80, "limit": 80, "unit": "connections"} in budget["rows"]
    assert {"tier": "connections", "host": "db3", "what": "6 poolers x 80", "count": 480, "limit": 480, "unit": "connections"} in budget["rows"]
    assert budget["rows"][-1] == {
        "tier": "memory",
        "host": "db3",
        "what": "500 connections x 16MB + 4096MB shared",
        "count": 12096,
        "limit": 16384,
        "unit": "MB",
    }
    assert len(budget["rows"]) == 6 + 6 + 3 + 3


def test_a_pool_that_does_not_fit_is_named_with_one_that_does() -> None:
    fleet = changed("pgbouncer", default_pool_size=100, max_db_connections=0)
    assert connection_budget(fleet)["problems"] == [
        "connection_budget: 6 poolers x 130 = 780 connections, but db1, db2 and db3 allow 480 (max_connections 500 less 20 reserved); "
        "lower pgbouncer_settings.default_pool_size to 50"
    ]
    assert connection_budget(changed("pgbouncer", default_pool_size=50, max_db_connections=0))["ok"]
    assert not connection_budget(changed("pgbouncer", default_pool_size=51, max_db_connections=0))["ok"]


def test_a_pool_above_its_cap_is_an_oversight() -> None:
    problems = connection_budget(changed_on("pgbouncer", "web2", default_pool_size=60))["problems"]
    assert (
        "connection_budget: web2 has a pool of 60 for its leader database, but max_db_connections allows 55; "
        "raise pgbouncer_settings.max_db_connections to 65 or lower default_pool_size to 55"
    ) in problems
    problems = connection_budget(changed_on("pgbouncer", "web2", replica_pool_size=26))["problems"]
    assert problems[0] == (
        "connection_budget: web2 has a pool of 26 for its replica database, but replica_max_db_connections allows 25; "
        "raise pgbouncer_settings.replica_max_db_connections to 26 or lower replica_pool_size to 25"
    )


def test_poolers_that_differ_are_listed() -> None:
    fleet = changed_on("pgbouncer", "web1", default_pool_size=90, max_db_connections=0)
    assert connection_budget(fleet)["problems"] == [
        "connection_budget: web1 120 + web2 80 + web3 80 + web4 80 + worker1 80 + worker2 80 = 520 connections, but db1, db2 and db3 allow 480 "
        "(max_connections 500 less 20 reserved); lower pgbouncer_settings.default_pool_size to 50"
    ]


def test_every_user_has_pools_of_its_own() -> None:
    fleet = changed("pgbouncer", users={"obcms_app": {}, "reports": {"pool_size": 10}}, max_db_connections=0)
    budget = connection_budget(fleet)
    # 50 + 10 and twice the reserve to the leader; 25 + 10 to the replicas, where the cap of 25 holds them.
    assert budget["rows"][6]["what"] == "leader 70 + replica 25"
    assert budget["problems"] == [
        "connection_budget: 6 poolers x 95 = 570 connections, but db1, db2 and db3 allow 480 (max_connections 500 less 20 reserved); "
        "lower pgbouncer_settings.default_pool_size to 35"
    ]


def test_every_database_has_pools_of_its_own() -> None:
    fleet = changed("pgbouncer", databases={"reports": {"pool_size": 8, "reserve_pool_size": 0, "max_db_connections": 0}})
    budget = connection_budget(fleet)
    assert budget["rows"][6]["what"] == "leader 55 + replica 25 + reports 8"
    assert budget["rows"][6]["count"] == 88
    assert not budget["ok"]


def test_a_cap_holds_the_pools_of_several_users() -> None:
    budget = connection_budget(changed("pgbouncer", users={"application": {}, "readonly": {}}))
    assert budget["ok"]
    assert budget["rows"][6] == {"tier": "pools", "host": "web1", "what": "leader 55 + replica 25", "count": 80, "limit": 80, "unit": "connections"}


def test_clients_must_fit_into_the_pooler_of_their_host() -> None:
    assert connection_budget(changed_on("pgbouncer", "web3", max_client_conn=67))["problems"] == [
        "connection_budget: web3 opens 17 workers x 2 threads x 2 databases = 68 connections, but its PgBouncer takes 67 clients; "
        "raise pgbouncer_settings.max_client_conn to 68"
    ]
    assert connection_budget(changed_on("pgbouncer", "web3", max_client_conn=68))["ok"]
    assert connection_budget(changed_on("pgbouncer", "worker1", max_client_conn=11))["problems"] == [
        "connection_budget: worker1 opens (4 processes + parent and beat) x 2 databases = 12 connections, but its PgBouncer takes 11 clients; "
        "raise pgbouncer_settings.max_client_conn to 12"
    ]


def test_web_and_background_on_one_host_share_its_pooler() -> None:
    fleet = reference_fleet()
    fleet["celery"]["web1"] = {"concurrency": 4}
    row = connection_budget(fleet)["rows"][0]
    assert (row["what"], row["count"]) == ("17 workers x 2 threads x 2 databases + (4 processes + parent and beat) x 2 databases", 80)


def test_a_host_without_pooler_is_named() -> None:
    fleet = reference_fleet()
    del fleet["pgbouncer"]["web2"]
    assert connection_budget(fleet)["problems"] == [
        "connection_budget: web2 opens 68 connections, but has no PgBouncer; list it in the poolers' hosts, or empty its group"
    ]


def test_connections_that_may_sort_must_fit_into_memory() -> None:
    assert connection_budget(changed_on("postgres", "db2", work_mem="25MB"))["problems"] == [
        "connection_budget: 500 connections x 25MB + 4096MB shared = 16596 MB, but db2 has 16384 MB for PostgreSQL; "
        "lower postgres_settings.work_mem to 24MB"
    ]
    assert connection_budget(changed_on("postgres", "db2", work_mem="24MB"))["ok"]


def test_memory_fix_goes_down_to_kilobytes_and_then_to_other_settings() -> None:
    assert connection_budget(changed_on("postgres", "db1", shared_buffers="16000MB"))["problems"] == [
        "connection_budget: 500 connections x 16MB + 16000MB shared = 24000 MB, but db1 has 16384 MB for PostgreSQL; "
        "lower postgres_settings.work_mem to 786kB"
    ]
    assert connection_budget(changed_on("postgres", "db1", shared_buffers="20GB"))["problems"] == [
        "connection_budget: 500 connections x 16MB + 20GB shared = 28480 MB, but db1 has 16384 MB for PostgreSQL; "
        "lower postgres_settings.shared_buffers to 4096MB and max_connections to 500"
    ]
    assert connection_budget(changed_on("postgres", "db1", shared_buffers="16384MB", work_mem="64MB"))["problems"][0].endswith(
        "lower postgres_settings.shared_buffers to 4096MB and max_connections to 128"
    )


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        # 64kB is the least that PostgreSQL takes for work_mem.
        ({"max_connections": 512, "memory_mb": 16384, "shared_buffers": "16352MB"}, "work_mem to 64kB"),
        ({"max_connections": 512, "memory_mb": 16384, "shared_buffers": "16353MB"}, "shared_buffers to 4096MB and max_connections to 512"),
        (
            {"max_connections": 100, "memory_mb": 100, "shared_buffers": "128MB", "work_mem": "64MB"},
            "shared_buffers to 25MB and max_connections to 1",
        ),
        ({"max_connections": 100, "memory_mb": 300, "shared_buffers": "1GB", "work_mem": "64MB"}, "shared_buffers to 75MB and max_connections to 2"),
    ],
)
def test_memory_fix_names_a_value_that_postgresql_takes(settings: dict[str, Any], fix: str) -> None:
    assert connection_budget({"postgres": {"db1": settings}})["problems"][0].endswith(f"; lower postgres_settings.{fix}")


def test_database_hosts_with_the_same_settings_are_named_together() -> None:
    same = {"max_connections": 100, "memory_mb": 512, "work_mem": "16MB"}
    assert connection_budget({"postgres": {"db1": same, "db2": same}})["problems"] == [
        "connection_budget: 100 connections x 16MB + 128MB shared = 1728 MB, but db1 and db2 have 512 MB for PostgreSQL; "
        "lower postgres_settings.work_mem to 3MB"
    ]


def test_part_of_a_megabyte_counts() -> None:
    fleet = changed("postgres", shared_buffers="4096MB", work_mem="25166kB")
    assert connection_budget(fleet)["rows"][-1]["count"] == 16385
    assert not connection_budget(fleet)["ok"]


def test_memory_is_left_out_where_nobody_knows_it() -> None:
    fleet = reference_fleet()
    for each in fleet["postgres"].values():
        del each["memory_mb"]
    budget = connection_budget(fleet)
    assert budget["ok"]
    assert budget["headroom"]["memory_mb"] is None


def test_postgresql_defaults_count_where_nothing_is_set() -> None:
    fleet = {"postgres": {"db1": {"max_connections": 100, "memory_mb": 512}}}
    assert connection_budget(fleet)["problems"] == [
        "connection_budget: 100 connections x 4MB + 128MB shared = 528 MB, but db1 has 512 MB for PostgreSQL; lower postgres_settings.work_mem to 3MB"
    ]


@pytest.mark.parametrize(
    "name", ["max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"]
)
def test_what_a_replica_may_not_have_lower_must_be_equal(name: str) -> None:
    fleet = reference_fleet()
    old = fleet["postgres"]["db1"][name]
    fleet["postgres"]["db2"][name] = old + 1
    assert (
        f"connection_budget: {name} must be the same on all database hosts, because any of them may lead, but db1 has {old}, "
        f"db2 has {old + 1}, db3 has {old}; set postgres_settings.{name} for the whole group to {old + 1}"
    ) in connection_budget(fleet)["problems"]


def test_numbers_as_text_are_equal_to_numbers() -> None:
    assert connection_budget(changed_on("postgres", "db2", max_connections="500"))["ok"]


def test_slots_reserved_by_settings_leave_fewer_for_poolers() -> None:
    budget = connection_budget(changed("postgres", superuser_reserved_connections=5, reserved_connections=4))
    assert budget["problems"] == [
        "connection_budget: 6 poolers x 80 = 480 connections, but db1, db2 and db3 allow 474 (max_connections 500 less 26 reserved); "
        "lower pgbouncer_settings.default_pool_size to 49"
    ]


def test_hosts_that_allow_different_numbers_are_told_apart() -> None:
    fleet = changed_on("postgres", "db2", max_connections=400)
    found = connection_budget(fleet)["problems"]
    assert found[0] == (
        "connection_budget: 6 poolers x 80 = 480 connections, but db2 allows 380 (max_connections 400 less 20 reserved); "
        "lower pgbouncer_settings.default_pool_size to 33"
    )
    assert found[1].startswith("connection_budget: max_connections must be the same on all database hosts")


def test_when_no_pool_can_be_small_enough_the_database_must_allow_more() -> None:
    found = connection_budget(changed("postgres", max_connections=150))["problems"]
    assert found[0].endswith("raise postgres_settings.max_connections to 500 or have fewer poolers")
    # 6 x (1 + 5 + 25) + 20 = 206 is the least that the smallest pool needs.
    assert connection_budget(changed("postgres", max_connections=206))["problems"][0].endswith("lower pgbouncer_settings.default_pool_size to 1")
    assert connection_budget(changed("postgres", max_connections=205))["problems"][0].endswith("to 500 or have fewer poolers")


def poolers(**settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Poolers without replica pools before one database host that allows 100 connections."""
    held = {name: {"max_client_conn": 1000, "replica_pool_size": 0, **own} for name, own in settings.items()}
    return {"pgbouncer": held, "postgres": {"db1": {"max_connections": 120}}}


TWO_USERS = {"application": {}, "people": None}


@pytest.mark.parametrize(
    ("fleet", "fix"),
    [
        # Two users share what is left, with a reserve each, where nothing caps them.
        (poolers(web1={"default_pool_size": 300, "users": TWO_USERS}), "default_pool_size to 50"),
        (poolers(web1={"default_pool_size": "300", "reserve_pool_size": "5", "users": TWO_USERS}), "default_pool_size to 45"),
        # A cap lets one of them have more, when the other leaves it room.
        (
            poolers(web1={"default_pool_size": 300, "reserve_pool_size": 5, "max_db_connections": "305", "users": TWO_USERS}),
            "max_db_connections to 100 and default_pool_size to 95",
        ),
        # The pool is no larger than it was.
        (
            poolers(web1={"default_pool_size": 80, "max_db_connections": 150, "users": TWO_USERS}),
            "max_db_connections to 80 and default_pool_size to 80",
        ),
        # web1 takes what its caps allow, 30 and 20; web2 the rest.
        (
            poolers(
                web1={
                    "default_pool_size": 20,
                    "max_db_connections": 30,
                    "replica_max_db_connections": 20,
                    "users": {name: {"pool_size": 20} for name in "abc"},
                },
                web2={"default_pool_size": 300},
            ),
            "default_pool_size to 50",
        ),
        # The pools of 40 that one user has on web1, to the leader and to the replicas, are not held back.
        (
            poolers(
                web1={"default_pool_size": 60, "max_db_connections": 200, "users": {"application": {}, "reports": {"pool_size": 40}}},
                web2={"default_pool_size": 200, "max_db_connections": 200},
            ),
            "max_db_connections to 40 and default_pool_size to 20",
        ),
        (poolers(**{f"web{number}": {"default_pool_size": 2} for number in range(101)}), ""),
    ],
)
def test_the_largest_pool_that_fits_is_named(fleet: dict[str, Any], fix: str) -> None:
    (problem,) = connection_budget(fleet)["problems"]
    last = f"lower pgbouncer_settings.{fix}" if fix else "raise postgres_settings.max_connections to 222 or have fewer poolers"
    assert problem.endswith(f"; {last}")


@pytest.mark.parametrize(
    ("fleet", "message"),
    [
        (
            {"app": {"web1": {"threads": 2}}},
            "connection_budget: web1 has no workers, but it is part of the sum; pass the settings that will be rendered",
        ),
        (
            {"app": {"web1": {"workers": "many"}}},
            "connection_budget: web1: workers is 'many', but must be a whole number of 1 or more; correct it",
        ),
        (
            {"celery": {"w": {"concurrency": 0}}},
            "connection_budget: w: concurrency is 0, but must be a whole number of 1 or more; correct it",
        ),
        (
            {"pgbouncer": {"w": {"default_pool_size": -1}}},
            "connection_budget: w: default_pool_size is -1, but must be a whole number of 0 or more; correct it",
        ),
        (
            {"postgres": {"db1": {"max_connections": 9, "memory_mb": 512, "work_mem": "much"}}},
            "connection_budget: db1: work_mem is 'much', but must be a number with kB, MB, GB or TB; write it like 4096MB",
        ),
        (
            {"postgres": {"db1": {"max_connections": 0, "memory_mb": 512}}},
            "connection_budget: db1: max_connections is 0, but must be a whole number of 1 or more; correct it",
        ),
        pytest.param(
            {"postgres": {"db1": {"max_worker_processes": 8}, "db2": {"max_worker_processes": "eight"}}},
            "connection_budget: db2: max_worker_processes is 'eight', but must be a whole number of 0 or more; correct it",
            id="no number of processes",
        ),
        (
            {"postgres": ["db1"]},
            "connection_budget: postgres is ['db1'], but must be a dict of host name to settings; see ansible-doc -t filter connection_budget",
        ),
        (
            {"postgres": {"db1": 5}},
            "connection_budget: postgres is {'db1': 5}, but must be a dict of host name to settings; see ansible-doc -t filter connection_budget",
        ),
        (
            None,
            "connection_budget: pgbouncer is None, but must be a dict of host name to settings; see ansible-doc -t filter connection_budget",
        ),
    ],
)
def test_wrong_input_gives_one_message(fleet: Any, message: str) -> None:
    with pytest.raises(SizingError) as raised:
        connection_budget(fleet)
    assert str(raised.value) == message


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(SizingError, match="unknown argument strict; it takes the fleet only"):
        connection_budget({}, strict=True)


def test_an_empty_fleet_has_nothing_to_say() -> None:
    assert connection_budget({}) == {
        "ok": True,
        "rows": [],
        "problems": [],
        "headroom": {"clients": None, "connections": None, "memory_mb": None},
    }


FLEETS = st.builds(
    default_fleet,
    st.lists(HOSTS, min_size=1, max_size=5),
    st.lists(HOSTS.map(lambda each: gunicorn_sizing(each, ["app"])), min_size=1, max_size=64),
    st.lists(HOSTS.map(lambda each: celery_sizing(each, ["celery"])), min_size=0, max_size=9),
)


@given(FLEETS)
def test_every_default_fleet_fits(fleet: dict[str, dict[str, Any]]) -> None:
    budget = connection_budget(fleet)
    assert budget["problems"] == []
    assert all(room >= 0 for room in budget["headroom"].values())


# How one setting of one host breaks any fleet, and which sum then does not fit.
CLIENTS, CAP, POOLS, MEMORY = "its PgBouncer takes", "has a pool of 481", r"allows? -?\d+ \(max_connections", "MB for PostgreSQL"
BREAKS: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    ("app", "workers"): ({"workers": 1000}, CLIENTS),
    ("app", "threads"): ({"threads": 1000}, CLIENTS),
    ("celery", "concurrency"): ({"concurrency": 1000}, CLIENTS),
    ("pgbouncer", "max_client_conn"): ({"max_client_conn": 3}, CLIENTS),
    ("pgbouncer", "a pool above its cap"): ({"default_pool_size": 481}, CAP),
    ("pgbouncer", "a pool of replicas above its cap"): ({"replica_pool_size": 481}, CAP),
    ("pgbouncer", "a pool"): ({"default_pool_size": 481, "max_db_connections": 0}, POOLS),
    ("pgbouncer", "a pool and its cap"): ({"default_pool_size": 481, "max_db_connections": 481}, POOLS),
    ("pgbouncer", "a reserve"): ({"reserve_pool_size": 481, "max_db_connections": 0}, POOLS),
    ("pgbouncer", "a pool of replicas"): ({"replica_pool_size": 481, "replica_max_db_connections": 0}, POOLS),
    ("pgbouncer", "many users"): ({"users": {str(number): {} for number in range(481)}, "max_db_connections": 0}, POOLS),
    ("pgbouncer", "the pool of one user"): ({"users": {"application": {}, "reports": {"pool_size": 481}}, "max_db_connections": 0}, POOLS),
    ("pgbouncer", "one more database"): ({"databases": {"reports": {"pool_size": 481, "max_db_connections": 481}}}, POOLS),
    ("postgres", "max_connections"): ({"max_connections": 21}, POOLS),
    ("postgres", "superuser_reserved_connections"): ({"superuser_reserved_connections": 500}, POOLS),
    ("postgres", "reserved_connections"): ({"reserved_connections": 500}, POOLS),
    ("postgres", "work_mem"): ({"work_mem": "2TB"}, MEMORY),
    ("postgres", "shared_buffers"): ({"shared_buffers": "3TB"}, MEMORY),
    ("postgres", "less memory"): ({"memory_mb": 100}, MEMORY),
}


@given(FLEETS, st.sampled_from(sorted(BREAKS)), st.data())
def test_every_way_to_break_it_is_caught(fleet: dict[str, dict[str, Any]], way: tuple[str, str], data: st.DataObject) -> None:
    tier, (changes, said) = way[0], BREAKS[way]
    assume(fleet[tier])
    name = data.draw(st.sampled_from(sorted(fleet[tier])))
    fleet[tier][name].update(changes)
    budget = connection_budget(fleet)
    assert not budget["ok"]
    found = [problem for problem in budget["problems"] if re.search(said, problem)]
    assert found
    # Poolers that are alike are counted, not named.
    assert (tier, said) == ("pgbouncer", POOLS) or any(name in problem for problem in found)


@given(
    FLEETS, st.sampled_from(["max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"])
)
def test_a_replica_that_has_less_than_its_leader_is_caught_on_any_fleet(fleet: dict[str, dict[str, Any]], setting: str) -> None:
    fleet["postgres"]["other"] = {**fleet["postgres"]["db1"], setting: fleet["postgres"]["db1"][setting] + 1}
    assert any(f"{setting} must be the same on all database hosts" in problem for problem in connection_budget(fleet)["problems"])


def repaired(fleet: dict[str, dict[str, Any]], problem: str) -> dict[str, dict[str, Any]]:
    """The fleet after somebody has done what the problem says about pools."""
    fleet = copy.deepcopy(fleet)
    if higher := re.search(r"raise postgres_settings.max_connections to (\d+)", problem):
        for each in fleet["postgres"].values():
            each.update(max_connections=int(higher[1]), work_mem="64kB")
    for name in ("default_pool_size", "max_db_connections"):
        if lower := re.search(rf"lower pgbouncer_settings\..*\b{name} to (\d+)", problem):
            for each in fleet["pgbouncer"].values():
                each[name] = min(each[name], int(lower[1]))
    return fleet


USERS = st.lists(st.sampled_from([{}, {"pool_size": 5}, {"pool_size": 60}]), min_size=1, max_size=4)


@settings(max_examples=100)
@given(FLEETS, st.integers(1, 900), st.booleans(), USERS, st.data())
def test_the_values_that_are_named_do_fit(
    fleet: dict[str, dict[str, Any]], pool: int, capped: bool, users: list[dict[str, int]], data: st.DataObject
) -> None:
    for each in fleet["pgbouncer"].values():
        each.update(default_pool_size=pool, max_db_connections=each["max_db_connections"] if capped else 0)
    fleet["pgbouncer"][data.draw(st.sampled_from(sorted(fleet["pgbouncer"])))]["users"] = {str(number): user for number, user in enumerate(users)}
    for problem in connection_budget(fleet)["problems"]:
        if " poolers x " in problem or "connections, but db" in problem:
            again = connection_budget(repaired(fleet, problem))["problems"]
            assert not [each for each in again if " poolers x " in each or "connections, but db" in each]
