"""Gates: each closes on its own condition, and what has no value never passes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from test_rollout_plan import CALENDAR, PLAN, PROJECT

from rollout_gates import (
    BUSY,
    FORECAST,
    GateError,
    by_prometheus,
    capacity,
    earlier_waves,
    leader,
    rollout_answers,
    rollout_checkpoints,
    rollout_gates,
    rollout_gates_table,
    rollout_leader,
    rollout_soak,
)
from rollout_plan import rollout_plan

VARIABLES = yaml.safe_load((PROJECT / "roles/rollout/vars/main/gates.yml").read_text())
ASKED, LIMITS = VARIABLES["__rollout_asked"], VARIABLES["__rollout_default_limits"]
GOOD_APP = {"health": {"version": "1.2.0"}, "ready": 200}
LEADER = {"members": [{"name": "db1", "role": "leader", "state": "running"}, {"name": "db2", "role": "sync_standby", "state": "streaming"}]}


def measured(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "lines": [{"kind": "wave", "wave": 1, "state": "complete"}],
        "status": {"AAA": {"state": "onboarded", "users": 20}, "BBB": {"state": "onboarded", "users": 10}},
        "apps": {"web1": GOOD_APP, "web2": GOOD_APP},
        "clusters": [{}, LEADER],
        "values": dict.fromkeys([*ASKED, BUSY], 0.0),
        "workers": [{"workers": 2, "threads": 2}] * 2,
        "errors": {},
        "today": "2027-01-20",
    }
    return {**found, **changes}


def closed(found: dict[str, Any], wave: int = 2, **more: Any) -> list[str]:
    rows = rollout_gates(found, rollout_plan(PLAN, CALENDAR, hosts=1), wave, LIMITS, ASKED, **more)
    return [row["gate"] for row in rows if not row["ok"]]


def test_all_open() -> None:
    assert closed(measured()) == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("earlier_waves", {"lines": []}),
        ("earlier_waves", {"lines": [{"kind": "wave", "wave": 1, "state": "incomplete"}]}),
        ("earlier_waves", {"status": {"AAA": {"state": "suspended"}, "BBB": {"state": "onboarded"}}}),
        ("calendar", {"today": "2027-01-17"}),
        # 30 users keep 2.8 of 8 workers busy, 60 users would 5.6: that is the limit of 70 %.
        ("forecast", {"values": {**dict.fromkeys(ASKED, 0.0), BUSY: 2.8}}),
        ("forecast", {"values": dict.fromkeys(ASKED, 0.0)}),
        ("forecast", {"workers": []}),
        ("version", {"apps": {"web1": GOOD_APP, "web2": {**GOOD_APP, "health": {"version": "1.1.0"}}}}),
        ("version", {"apps": {"web1": GOOD_APP, "web2": {**GOOD_APP, "health": None}}}),
        ("version", {"apps": {"web1": {**GOOD_APP, "health": None}, "web2": {**GOOD_APP, "health": {}}}}),
        ("ready", {"apps": {"web1": GOOD_APP, "web2": {**GOOD_APP, "ready": 503}}}),
        ("ready", {"apps": {"web1": GOOD_APP, "web2": {**GOOD_APP, "ready": None}}}),
        ("leader", {"clusters": [{}, {}]}),
        ("leader", {"clusters": [{"members": LEADER["members"][1:]}]}),
        ("leader", {"clusters": [{"members": [LEADER["members"][0], {**LEADER["members"][0], "name": "db2"}]}]}),
    ],
)
def test_each_gate_closes(gate: str, changes: dict[str, Any]) -> None:
    assert closed(measured(**changes)) == [gate]


@pytest.mark.parametrize("gate", ASKED)
def test_at_the_limit_a_gate_of_prometheus_is_closed(gate: str) -> None:
    limit = LIMITS[gate]
    assert closed(measured(values={**dict.fromkeys([*ASKED, BUSY], 0.0), gate: limit or 1})) == [gate]
    assert closed(measured(values={**dict.fromkeys([*ASKED, BUSY], 0.0), gate: limit * 0.99})) == []


@pytest.mark.parametrize("gate", ASKED)
def test_no_data_is_no_pass(gate: str) -> None:
    values: dict[str, float | None] = {**dict.fromkeys([*ASKED, BUSY], 0.0), gate: None}
    assert closed(measured(values=values)) == [gate]
    del values[gate]
    assert closed(measured(values=values)) == [gate]


def test_every_query_has_its_gate_and_its_limit() -> None:
    assert set(VARIABLES["__rollout_queries"]) - {BUSY} == set(ASKED) == set(LIMITS) - {FORECAST}


def test_a_gate_is_left_out_by_name_and_shown_so() -> None:
    found = measured(apps={"web1": {**GOOD_APP, "ready": 503}})
    assert closed(found, skip="ready") == []
    rows = rollout_gates(found, rollout_plan(PLAN), 2, LIMITS, ASKED, ["ready", "leader"])
    assert [row["gate"] for row in rows if row["skipped"]] == ["ready"]
    assert "SKIPPED" in rollout_gates_table(rows)
    with pytest.raises(GateError, match="rady in rollout_skip_gates is no gate; the gates are earlier_waves"):
        closed(found, skip=["rady"])


@pytest.mark.parametrize(
    ("complete", "gone", "said"),
    [
        ([1, 2, 3, 4], [], "4"),
        ([1, 2, 3, 4], ["A1", "B1", "A3"], "2 (wave 1 without A1, B1; wave 3 without A3)"),
        ([4], [], "1 (wave 1 not started; wave 2 not started; wave 3 not started)"),
        ([], [], "0 (wave 1 not started; wave 2 not started; wave 3 not started ...)"),
    ],
)
def test_earlier_waves_that_are_missing_are_named_the_first_three_at_least(complete: list[int], gone: list[str], said: str) -> None:
    plan = {"waves": [{"wave": number, "moas": [f"A{number}", f"B{number}"]} for number in range(1, 6)]}
    lines = [{"kind": "wave", "wave": number, "state": "complete"} for number in complete]
    status = {code: {"state": "suspended" if code in gone else "onboarded"} for entry in plan["waves"] for code in entry["moas"]}
    row = earlier_waves({"lines": lines, "status": status}, plan, 5)
    assert (row["measured"], row["ok"]) == (said, said == "4")


def test_what_is_not_known_is_a_plain_no() -> None:
    assert leader([{}])["ok"] is False
    assert by_prometheus("lag", "lag of a replica", 1, {"lag": None}, {})["ok"] is False


def test_users_count_as_planned_as_listed_or_as_on_board_whatever_is_most() -> None:
    plan = {**rollout_plan(PLAN), "carries": 100}
    found = {"listed": {"AAA": "25", "BBB": 4}, "status": {"BBB": {"users": 12}, "AAA": {"state": "onboarded"}}}
    row = capacity(found, plan, 1)
    assert row == {"gate": "capacity", "asked": "users after this wave", "measured": "37", "limit": "<= 100", "ok": True}
    assert capacity({}, plan, 2) == {**row, "measured": "60"}
    assert capacity({"listed": {"CCC": 70}}, plan, 2) == {**row, "measured": "100"}
    assert capacity({"listed": {"CCC": 71}}, plan, 2) == {**row, "measured": "101", "ok": False}


def test_the_forecast_stays_open_below_its_limit_and_where_nobody_is_on_board_yet() -> None:
    assert closed(measured(values={**dict.fromkeys(ASKED, 0.0), BUSY: 2.79})) == []
    assert closed(measured(status={}, lines=[], values=dict.fromkeys(ASKED, 0.0)), wave=1) == []


def test_dates_that_are_examples_start_no_wave() -> None:
    rows = rollout_gates(measured(), rollout_plan(PLAN, "# Example dates, not agreed on\n" + CALENDAR, hosts=1), 2, LIMITS, ASKED)
    assert [row["gate"] for row in rows if not row["ok"]] == ["calendar"]


def test_while_soaking_only_the_platform_is_judged() -> None:
    assert closed(measured(lines=[], today="2020-01-01"), wave=0) == []


def test_a_lost_host_says_nothing_whatever_it_said_before() -> None:
    told = {"results": [{"status": 200, "json": {"version": "1"}}, {"status": 200}]}
    hosts = {
        "web1": {"__rollout_told": told},
        "web2": {"__rollout_told": told},
        "web3": {"__rollout_told": {"results": [{"status": -1}, {"status": -1}]}},
    }
    answers = rollout_answers([{"name": name} for name in hosts], hosts, ["web1", "web3"])
    assert answers["web1"] == {"health": {"version": "1"}, "ready": 200}
    assert answers["web2"] == answers["web3"] == {"health": None, "ready": None}


def test_leader() -> None:
    assert rollout_leader([{}, LEADER]) == "db1"
    with pytest.raises(GateError, match="no database host says that it leads"):
        rollout_leader([{}, {"members": LEADER["members"][1:]}])


def test_soak_follows_the_calendar() -> None:
    assert rollout_soak(rollout_plan(PLAN, CALENDAR), 1, 5) == 30
    assert rollout_soak(rollout_plan(PLAN, CALENDAR), 2, 5) == 5


def test_checkpoints_end_with_the_soak() -> None:
    points = rollout_checkpoints(1.25, 30)
    assert [(point["done"], point["wait"], point["range"]) for point in points] == [(30, 30, "60s"), (60, 30, "60s"), (75, 15, "60s")]
    assert rollout_checkpoints(0, 30) == []


def test_a_host_that_was_never_asked_says_nothing() -> None:
    assert rollout_answers([{"name": "web1"}], {"web1": {}}, ["web1"]) == {"web1": {"health": None, "ready": None}}


def test_the_last_line_counts_closed_gates_only_when_there_are_some() -> None:
    row = {"gate": "ready", "asked": "hosts", "measured": "4", "limit": "= 4", "ok": True, "skipped": False}
    assert rollout_gates_table([row]).splitlines()[-1] == "1 of 1 gates open"
    assert rollout_gates_table([row, {**row, "ok": False}]).splitlines()[-1] == "1 of 2 gates open, 1 closed"
