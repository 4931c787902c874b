"""May the leader move, and to whom?"""

from __future__ import annotations

from typing import Any

import pytest

from switchover_plan import switchover_plan

MEMBERS = [{"name": "db1"}, {"name": "db2"}, {"name": "db3"}]


def cluster(**changes: dict[str, Any]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {
        "db1": {"role": "leader", "state": "running"},
        "db2": {"role": "quorum_standby", "state": "streaming", "lag": 300},
        "db3": {"role": "quorum_standby", "state": "streaming", "lag": 0},
    }
    for name, change in changes.items():
        rows[name] |= change
    return {"members": [{"name": name, **row} for name, row in rows.items()]}


def test_the_replica_with_the_least_to_catch_up_is_chosen() -> None:
    assert switchover_plan([{}, cluster()], MEMBERS) == {"leader": "db1", "candidate": "db3", "refusal": ""}
    assert switchover_plan([cluster(db3={"lag": "unknown"})], MEMBERS)["candidate"] == "db2"
    assert switchover_plan([cluster(db3={"tags": {"nofailover": True}})], MEMBERS)["candidate"] == "db2"
    assert switchover_plan([cluster(db2={"role": "sync_standby"}, db3={"role": "replica"})], MEMBERS)["candidate"] == "db2"


def test_the_named_replica_is_taken() -> None:
    assert switchover_plan([cluster()], MEMBERS, to="db2") == {"leader": "db1", "candidate": "db2", "refusal": ""}


@pytest.mark.parametrize(
    ("answers", "to", "said"),
    [
        ([], "", "no member of the database cluster answers"),
        ([cluster(db1={"role": "replica"})], "", "0 leaders (none)"),
        ([cluster(db2={"role": "leader"})], "", "2 leaders (db1, db2)"),
        ([cluster() | {"pause": True}], "", "failover is paused"),
        ([cluster(db2={"state": "starting"})], "", "db2: starting"),
        ([{"members": cluster()["members"][:2]}], "", "db3: missing"),
        ([cluster(db2={"role": "replica"}, db3={"role": "replica"})], "", "commits wait for no replica"),
        ([cluster()], "db1", "db1 leads already; replicas are db2, db3"),
        ([cluster()], "db9", "-e to=db9 is no member of the cluster; replicas are db2, db3"),
        ([cluster(db2={"role": "replica"})], "db2", "db2 is not one that commits wait for"),
        ([cluster(db2={"lag": 2**25})], "db2", "db2 has 33554432 bytes to catch up, 16777216 are allowed"),
        ([cluster(db2={"tags": {"nofailover": True}}, db3={"tags": {"nofailover": True}})], "", "no replica may lead"),
    ],
)
def test_every_refusal_names_its_reason(answers: list[dict[str, Any]], to: str, said: str) -> None:
    assert said in switchover_plan(answers, MEMBERS, to=to)["refusal"]
