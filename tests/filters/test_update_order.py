"""Leaders last, tier after tier."""

from __future__ import annotations

from typing import Any

from update_order import update_cut_off, update_order

TIERS = ["backup", "app", "lb", "redis", "postgres"]


def host(name: str, *services: str, leads: bool = False) -> dict[str, Any]:
    return {"name": name, "services": list(services), "leads": leads}


def test_tiers_follow_each_other_and_leaders_come_last_in_theirs() -> None:
    hosts = [
        host("db1", "postgres", leads=True),
        host("db2", "postgres"),
        host("redis1", "redis", "sentinel", leads=True),
        host("redis2", "redis", "sentinel"),
        host("lb1", "lb", leads=True),
        host("lb2", "lb"),
        host("web2", "app"),
        host("web1", "app"),
        host("backup1", "backup"),
        host("other", "somebody-elses"),
    ]
    assert update_order(hosts, TIERS) == ["other", "backup1", "web1", "web2", "lb2", "lb1", "redis2", "redis1", "db2", "db1"]


def test_a_host_with_several_services_comes_with_the_latest() -> None:
    assert update_order([host("all", "app", "postgres"), host("db2", "postgres"), host("web1", "app")], TIERS) == ["web1", "all", "db2"]


def test_hosts_that_a_cut_off_run_left_out_come_first() -> None:
    hosts = [host("web1", "app"), host("db1", "postgres", leads=True), host("lb1", "lb")]
    assert update_order(hosts, TIERS, ["db1", "gone"]) == ["db1", "web1", "lb1"]


def test_a_host_that_left_and_did_not_come_to_its_end_is_left_out() -> None:
    lines = [
        {"phase": "started"},
        {"phase": "leaves", "host": "web1"},
        {"phase": "host", "host": "web1"},
        {"phase": "leaves", "host": "db1"},
        {"phase": "resumed"},
    ]
    assert update_cut_off(lines) == ["db1"]
    assert update_cut_off([*lines, {"phase": "host", "host": "db1"}]) == []
    assert update_cut_off([]) == []
