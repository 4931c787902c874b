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


def test_a_host_without_the_cluster_in_its_answer_is_passed_over() -> None:
    assert switchover_plan([{"members": []}, {"detail": "starting"}, cluster()], MEMBERS)["leader"] == "db1"


def test_the_named_replica_is_taken() -> None:
    assert switchover_plan([cluster()], MEMBERS, to="db2") == {"leader": "db1", "candidate": "db2", "refusal": ""}
    # As far behind as is allowed.
    assert switchover_plan([cluster(db2={"lag": 300})], MEMBERS, to="db2", max_lag=300)["refusal"] == ""


KEPT = {"tags": {"nofailover": True}}


@pytest.mark.parametrize(
    ("answers", "to", "leader", "said"),
    [
        ([], "", "", "no member of the database cluster answers; see obcms-patronictl list on a database host"),
        ([cluster(db1={"role": "replica"})], "db2", "", "the cluster has 0 leaders (none), one is needed; see docs/runbooks/DatabaseNoLeader.md"),
        ([cluster(db2={"role": "leader"})], "", "", "the cluster has 2 leaders (db1, db2), one is needed; see docs/runbooks/DatabaseNoLeader.md"),
        (
            [cluster() | {"pause": True}],
            "db2",
            "db1",
            "failover is paused; obcms-patronictl resume on a database host, see docs/runbooks/FailoverPaused.md",
        ),
        (
            [cluster(db2={"state": "starting"}, db3={"state": "stopped"})],
            "",
            "db1",
            "every replica must stream first, but db2: starting; db3: stopped; see docs/runbooks/ReplicationNotStreaming.md",
        ),
        (
            [{"members": [*cluster()["members"][:1], {"name": "db2"}]}],
            "",
            "db1",
            "every replica must stream first, but db2: unknown; db3: missing; see docs/runbooks/ReplicationNotStreaming.md",
        ),
        (
            [cluster(db2={"role": "replica"}, db3={"role": "replica"})],
            "",
            "db1",
            "commits wait for no replica, so none is known to have them all; see obcms-patronictl list",
        ),
    ],
)
def test_a_cluster_that_is_not_well_moves_its_leader_to_nobody(answers: list[dict[str, Any]], to: str, leader: str, said: str) -> None:
    assert switchover_plan(answers, MEMBERS, to=to) == {"leader": leader, "candidate": "", "refusal": said}


@pytest.mark.parametrize(
    ("changes", "to", "candidate", "said"),
    [
        ({}, "db1", "db1", "db1 leads already; replicas are db2, db3"),
        ({}, "db9", "db9", "-e to=db9 is no member of the cluster; replicas are db2, db3"),
        (
            {"db2": {"role": "replica"}},
            "db2",
            "db2",
            "db2 is not one that commits wait for; choose another with -e to=..., or leave the choice to the playbook",
        ),
        (
            {"db2": {"lag": 2**25}},
            "db2",
            "db2",
            "db2 has 33554432 bytes to catch up, 16777216 are allowed; wait, see docs/runbooks/ReplicationLagHigh.md",
        ),
        (
            {"db2": {"lag": "unknown"}},
            "db2",
            "db2",
            "db2 has unknown bytes to catch up, 16777216 are allowed; wait, see docs/runbooks/ReplicationLagHigh.md",
        ),
        (
            {"db2": KEPT, "db3": KEPT},
            "",
            "",
            "no replica may lead: those that commits wait for are kept from it (tag nofailover); replicas are db2, db3",
        ),
    ],
)
def test_a_replica_that_may_not_lead_is_refused_with_the_reason(changes: dict[str, Any], to: str, candidate: str, said: str) -> None:
    assert switchover_plan([cluster(**changes)], MEMBERS, to=to) == {"leader": "db1", "candidate": candidate, "refusal": said}
