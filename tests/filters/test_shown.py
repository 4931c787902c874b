"""Whole results of the filters, as people and other filters get them: every word, number and key.

Each case is compared with shown/NAME.json. After an intended change: SHOWN=write pytest tests/filters/test_shown.py, then read the diff.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shown_backup
import shown_change
import shown_rollout

import rollout_commands as commands
import rollout_gates as gates
import rollout_plan as plans
import rollout_state as states
from connection_budget import connection_budget
from firewall_rules import firewall_rules
from fleets import host
from postgres_sizing import postgres_sizing
from rollout_report import rollout_report

SHOWN = Path(__file__).with_name("shown")
PLAN_TEXT = (
    'code,name,type,wave,users\nAAA,"First, of all",ministry,1,20\nBBB,Second,office,1,10\nCCC,Third <&>,special,2,30\nDDD,Fourth,agency,3,5\n'
)
CALENDAR = "wave,start,days,coordinator,soak_minutes\n1,2027-01-04,14,Amina,30\n2,2027-01-18,,Omar,\n3,2027-02-01,7,Sara,1.5\n"
PLAN = plans.rollout_plan(PLAN_TEXT, CALENDAR, hosts=1)
MOAS = PLAN["moas"]
SIGNED = {"at": "2027-01-04T08:00:00Z", "who": "amina"}


def moa(code: str, state: str, wave: int = 1, detail: str = "", **more: Any) -> dict[str, Any]:
    return {"kind": "moa", "moa": code, "wave": wave, "state": state, "users": 20, "detail": detail, **SIGNED, **more}


LINES: list[dict[str, Any]] = [
    {"kind": "wave", "wave": 1, "state": "started", "users": 30, "detail": "", **SIGNED},
    {"kind": "restore_point", "wave": 1, "name": "before-wave-1", "lsn": "0/3000060", **SIGNED},
    moa("AAA", "onboarded", at="2027-01-04T08:01:00Z"),
    moa("AAA", "proven", detail="logs in, sees record 7 of its own", at="2027-01-04T08:02:00Z"),
    moa("BBB", "failed", detail="no space left", at="2027-01-04T08:03:00Z"),
    moa("CCC", "proven", wave=2, at="2027-01-20T08:00:00Z"),
    {"kind": "wave", "wave": 1, "state": "incomplete", "users": 30, "detail": "not on board: BBB", **SIGNED},
    {"kind": "wave", "wave": 2, "state": "complete", "users": 30, "detail": "", **SIGNED},
]
STATUS = {"AAA": {"state": "onboarded", "users": 20, "users_logged_in": 3}, "BBB": {"state": "suspended", "users": 4}, "ZZZ": {"state": "x"}}
ASKED = {"p95_seconds": "p95 of answers, last hour (s)", "errors_percent": "requests that failed (%)", "lag_seconds": "replication lag"}
LIMITS = {"p95_seconds": 3, "errors_percent": 1.5, "lag_seconds": 0}
SAMPLES: list[dict[str, Any]] = [
    {"second": 0, "p95_seconds": 0.25, "errors_percent": 0.5, "lag_seconds": 0},
    {"second": 30, "p95_seconds": None, "errors_percent": 1.25, "lag_seconds": 0},
    {"second": 90, "p95_seconds": 2.5, "errors_percent": 0, "lag_seconds": 0},
]
CREWS = [{"workers": 2, "threads": "2"}, {"workers": "2", "threads": 2}]
LEADS = {"name": "db1", "role": "leader", "state": "running"}
ORGANISATIONS = '{"organisations": [{"code": 7}]}'
CHOICES: list[tuple[Any, ...]] = [(1,), ("2", ""), ("", "CCC, AAA,,CCC"), (1, ["BBB"]), ("", ["DDD"], True)]
PROOFS = [
    {"code": "AAA", "ok": True, "leak": False, "detail": "logs in", "seconds": 1.5},
    {"code": "BBB", "ok": False, "leak": False, "detail": "no login", "seconds": 0.2},
    {"code": "CCC", "ok": False, "leak": True, "detail": "sees record 7", "seconds": 12},
]


def measured(**changes: Any) -> dict[str, Any]:
    app = {"health": {"version": "1.2.0"}, "ready": 200}
    found: dict[str, Any] = {
        "lines": LINES,
        "status": {"AAA": {"state": "onboarded"}, "CCC": {"state": "onboarded"}},
        "apps": {"web1": app, "web2": app},
        "clusters": [
            {},
            {"members": [LEADS, {"name": "db2", "role": "replica", "state": "streaming"}]},
        ],
        "values": {"p95_seconds": 0.123456, "errors_percent": 0.5, "lag_seconds": 0.0},
        "errors": {},
        "workers": {"web1": {"workers": 4, "threads": 2}},
        "today": "2027-02-01",
    }
    return {**found, **changes}


def gate_rows(wave: Any = 3, skip: Any = (), **changes: Any) -> list[dict[str, Any]]:
    return gates.rollout_gates(measured(**changes), PLAN, wave, LIMITS, ASKED, skip)


def result(code: str = "AAA", rc: int = 0, stdout: str = '{"changed": true}', stderr: str = "", **more: Any) -> dict[str, Any]:
    return {"item": {"code": code, "codes": [code]}, "rc": rc, "stdout": stdout, "stderr": stderr, **more}


DATABASE = {"max_connections": 500, "work_mem": "16MB", "shared_buffers": "4096MB", "memory_mb": 16384, "max_worker_processes": 8}
POOLER = {"default_pool_size": 50, "reserve_pool_size": 5, "max_db_connections": 55, "replica_pool_size": 25, "max_client_conn": 1000}
APP = {"workers": 17, "threads": 2}


def budget(**changes: Any) -> dict[str, Any]:
    fleet: dict[str, Any] = {
        "app": {"web1": APP, "web2": {**APP, "threads": 4}},
        "celery": {"worker1": {"concurrency": 16}},
        "pgbouncer": {"web1": POOLER, "web2": POOLER, "worker1": POOLER},
        "postgres": {"db1": DATABASE, "db2": DATABASE},
    }
    return connection_budget({**fleet, **changes})


def pooler(**changes: Any) -> dict[str, Any]:
    return {name: {**POOLER, **changes} for name in ("web1", "web2", "worker1")}


def databases(**changes: Any) -> dict[str, Any]:
    return {name: {**DATABASE, **changes} for name in ("db1", "db2", "db3")}


def table(*arguments: Any, **more: Any) -> list[str]:
    return states.rollout_table(PLAN, LINES, *arguments, **more).splitlines()


HOST_ERRORS: list[Any] = [
    lambda: postgres_sizing(host(), ["postgres"], fleet="db1", poolers=6),
    lambda: postgres_sizing(host(), ["postgres"], fleet=["db1"], poolers=6),
    lambda: postgres_sizing(host(), ["postgres"], fleet=[{**host(), "host": "db1"}], poolers=6),
    lambda: postgres_sizing(host(), ["postgres"], fleet=[], poolers=0),
    lambda: postgres_sizing(host(), ["postgres"], colour="red"),
]


def wrong(tier: str, host_name: str, **settings: Any) -> Callable[[], Any]:
    """The budget of a fleet in which one host has one setting that is no number."""
    tiers: dict[str, dict[str, Any]] = {
        "app": {"web1": APP},
        "celery": {"worker1": {"concurrency": 16}},
        "pgbouncer": pooler(),
        "postgres": databases(),
    }
    tiers[tier][host_name] = {**tiers[tier][host_name], **settings}
    return lambda: budget(**tiers)


WRONG_NUMBERS = [
    *(
        wrong("pgbouncer", "web2", **{name: "x"})
        for name in (
            "default_pool_size",
            "reserve_pool_size",
            "max_db_connections",
            "replica_pool_size",
            "replica_max_db_connections",
            "max_client_conn",
        )
    ),
    wrong("pgbouncer", "web2", databases={"reports": {"pool_size": "x"}}),
    wrong("pgbouncer", "web2", databases={"reports": {"reserve_pool_size": "x"}}),
    wrong("pgbouncer", "web2", databases={"reports": {"max_db_connections": "x"}}),
    wrong("pgbouncer", "web2", users={"people": {"pool_size": "x"}}),
    wrong("pgbouncer", "web1", max_client_conn=0),
    wrong("pgbouncer", "web1", max_client_conn="x"),
    wrong("app", "web1", threads="x"),
    wrong("app", "web1", threads=0),
    wrong("celery", "worker1", concurrency="x"),
    wrong("celery", "worker1", concurrency=0),
    *(
        wrong("postgres", "db2", **{name: "x"})
        for name in ("max_connections", "memory_mb", "work_mem", "shared_buffers", "superuser_reserved_connections", "reserved_connections")
    ),
    wrong("postgres", "db2", max_connections=0),
    wrong("postgres", "db2", memory_mb=0),
    wrong("postgres", "db2", max_connections="90", max_wal_senders=5),
]


def flow(*flows: dict[str, Any], operators: tuple[str, ...] = ("198.51.100.7/24",)) -> Callable[[], Any]:
    """Rules of web1 in a small fleet."""
    groups = {
        "lb": [{"name": "lb1", "address": "192.0.2.11"}],
        "app": [{"name": "web1", "address": "192.0.2.21"}, {"name": "web2", "address": "192.0.2.22"}],
    }
    return lambda: firewall_rules(flows, groups, {"app": 8000, "dns": 53}, groups["app"], operators, ["app"], "192.0.2.21")


TALK = {"from": "lb", "to": "app", "port": "app", "why": "requests"}
FLOWS = [
    flow(TALK, {**TALK, "from": "operators", "port": "dns", "protocol": "udp"}, {**TALK, "from": ["app", "lb"], "to": ["lb", "app"], "port": "dns"}),
    flow({**TALK, "from": ["lb", "x"], "to": ["app", "y", "z"]}),
    flow({"from": "lb", "to": "app", "port": "app"}),
    flow({**TALK, "to": ["lb", "app"]}, {**TALK, "to": ["app", "lb"]}),
    flow({**TALK, "to": "lb", "from": "app"}, TALK),
    flow({**TALK, "protocol": "udp"}, {**TALK, "protocol": "udp"}),
    flow(TALK, operators=("office", "198.51.100.0/24")),
]
CASES: dict[str, Callable[[], Any]] = {
    "budget": budget,
    "budget_databases_and_users": lambda: budget(
        pgbouncer=pooler(
            databases={"reports": {"pool_size": 7, "reserve_pool_size": 1, "max_db_connections": 9}, "leader": {"pool_size": 40}, "plain": {}},
            users={"application": {}, "people": {"pool_size": 3}, "none": None},
        )
    ),
    "budget_without_caps": lambda: budget(pgbouncer=pooler(max_db_connections=0, replica_max_db_connections=0, reserve_pool_size=3)),
    "budget_least_is_said": lambda: budget(
        pgbouncer={name: {"default_pool_size": 20, "max_client_conn": 200} for name in ("web1", "web2", "worker1")}
    ),
    "budget_too_many_connections": lambda: budget(pgbouncer=pooler(default_pool_size=300, max_db_connections=305), postgres=databases()),
    "budget_unlike_poolers": lambda: budget(
        pgbouncer={**pooler(), "web2": {**POOLER, "default_pool_size": 400, "max_db_connections": 500}},
        postgres={**databases(), "db3": {**DATABASE, "max_connections": 100}},
    ),
    "budget_no_size_fits": lambda: budget(postgres={"db1": {**DATABASE, "max_connections": 20}}),
    "budget_reserved": lambda: budget(postgres=databases(reserved_connections=10, superuser_reserved_connections=7)),
    "budget_cap_below_pool": lambda: budget(pgbouncer={**pooler(max_db_connections=30), "web2": {**POOLER, "replica_max_db_connections": 10}}),
    "budget_clients": lambda: budget(pgbouncer=pooler(max_client_conn=100)),
    "budget_both_on_one_host": lambda: budget(celery={"web1": {"concurrency": 2}}, app={"web1": {"workers": 3}}),
    "budget_host_without_pooler": lambda: budget(app={"web9": APP}),
    "budget_no_poolers": lambda: budget(app={}, celery={}, pgbouncer={}),
    "budget_memory": lambda: budget(postgres=databases(work_mem="64MB")),
    "budget_memory_kb": lambda: budget(postgres={"db1": {**DATABASE, "memory_mb": 4500}}),
    "budget_memory_shared": lambda: budget(postgres={"db1": {**DATABASE, "memory_mb": 4000}}),
    "budget_memory_defaults": lambda: budget(postgres={"db1": {"max_connections": 500, "memory_mb": 2048}}),
    "budget_memory_unknown": lambda: budget(postgres={"db1": {"max_connections": 500}}),
    "budget_memory_exact": lambda: budget(postgres={"db1": {**DATABASE, "work_mem": "8MB", "memory_mb": 8096}}),
    "budget_unequal": lambda: budget(postgres={**databases(), "db2": {**DATABASE, "max_connections": 400, "max_worker_processes": 4}}),
    "budget_empty": lambda: connection_budget({}),
    "budget_no_dict": lambda: connection_budget([]),
    "budget_tier_no_dict": lambda: budget(app=["web1"]),
    "budget_settings_no_dict": lambda: budget(postgres={"db1": 500}),
    "budget_value_missing": lambda: budget(app={"web1": {}}),
    "budget_value_text": lambda: budget(app={"web1": {"workers": "many"}}),
    "budget_value_zero": lambda: budget(app={"web1": {"workers": 0}}),
    "budget_unknown_argument": lambda: connection_budget({}, colour="red", size=1),
    "gates_open": gate_rows,
    "gates_of_the_first_wave": lambda: gate_rows(1),
    "gates_while_soaking": lambda: gate_rows(0),
    "gates_closed": lambda: gate_rows(
        lines=[],
        status=None,
        today="2027-01-31",
        apps={"web1": {"health": None, "ready": 503}, "web2": {"health": {"version": "1.1.0"}}, "web3": {}},
        clusters=[{"members": [{"name": "db1", "role": "master", "state": "running"}, {"name": "db2", "role": "primary", "state": "running"}]}],
        values={"p95_seconds": 3, "lag_seconds": 0.5},
        errors={"errors_percent": "timed out"},
    ),
    "gates_without_organisations": lambda: gate_rows(status={"AAA": {"state": "suspended"}, "CCC": {}}),
    "gates_no_leader": lambda: gate_rows(clusters=[{}], apps={}, values={}),
    "gates_leader_down": lambda: gate_rows(clusters=[{"members": [{"name": "db1", "role": "leader", "state": "stopped"}, {"name": "db2"}]}]),
    "gates_skipped": lambda: gate_rows(skip="earlier_waves, p95_seconds", values={}),
    "gates_unknown_skip": lambda: gate_rows(skip=["early", "late"]),
    "gates_without_limit": lambda: gates.rollout_gates(measured(), PLAN, 1, {"p95_seconds": 1}, ASKED),
    "gates_table": lambda: gates.rollout_gates_table(gate_rows(skip="earlier_waves", values={"p95_seconds": 1})).splitlines(),
    "gates_table_open": lambda: gates.rollout_gates_table(gate_rows(2, lines=[{"kind": "wave", "wave": 1, "state": "complete"}])).splitlines(),
    "gates_many_waves_missing": lambda: gates.earlier_waves(
        measured(lines=[]), {"waves": [{"wave": number, "moas": []} for number in range(1, 7)]}, 6
    ),
    "gates_calendar": lambda: [gates.calendar(measured(today=day), PLAN, 2) for day in ("2027-01-17", "2027-01-18")],
    "gates_calendar_of_examples": lambda: gates.calendar(measured(), {**PLAN, "example": True}, 2),
    "gates_forecast": lambda: [
        gates.forecast(measured(**changes), PLAN, wave, {"forecast_percent": 80})
        for wave, changes in (
            (1, {"values": {"busy_workers": 1.5}, "workers": CREWS, "status": {"AAA": {"state": "onboarded", "users": 20}, "BBB": {"users": 7}}}),
            (
                2,
                {
                    "values": {"busy_workers": 1.5},
                    "workers": CREWS,
                    "status": {"AAA": {"state": "onboarded", "users": 20}, "C": {"state": "onboarded"}},
                },
            ),
            (3, {"values": {"busy_workers": "2.25"}, "workers": CREWS, "status": None}),
            (1, {"values": {"busy_workers": 6}, "workers": CREWS, "status": {"AAA": {"state": "onboarded", "users": 300}}}),
            (3, {"values": {"busy_workers": 6.4}, "workers": CREWS, "status": {"AAA": {"state": "onboarded", "users": 65}}}),
            (3, {"values": {"busy_workers": 1}, "workers": CREWS, "status": {}}),
            (3, {"values": {"busy_workers": 1}, "workers": CREWS, "status": None, "lines": []}),
            (3, {"values": {}, "workers": CREWS, "errors": {"busy_workers": "timed out"}, "status": None}),
            (3, {"values": {"busy_workers": 1}, "workers": None, "status": None}),
        )
    ],
    "gates_no_forecast": lambda: gates.forecast(measured(), PLAN, 1, {}),
    "gates_with_forecast": lambda: gates.rollout_gates(
        measured(values={"busy_workers": 1, **measured()["values"]}, workers=CREWS, status=None), PLAN, 2, {**LIMITS, "forecast_percent": 60}, ASKED
    ),
    "gates_three_waves_missing": lambda: gates.earlier_waves(
        measured(lines=[]), {"waves": [{"wave": number, "moas": []} for number in (1, 2, 3)]}, 4
    ),
    "gates_no_calendar": lambda: gates.calendar(measured(), plans.rollout_plan("code,name,type,wave,users\nA,B,office,1,2\n"), 1),
    "gates_capacity": lambda: [gates.capacity({}, {**PLAN, "carries": carries}, 2) for carries in (0, 59, 60, 61)],
    "gates_capacity_of_lists": lambda: [
        gates.capacity({"listed": {"CCC": listed}, "status": {"AAA": {"users": on_board}}}, {**PLAN, "carries": 65}, 2)
        for listed, on_board in ((5, 5), (35, 20), (36, 20), (30, 26))
    ],
    "gates_events": lambda: gates.rollout_gate_events(gate_rows(skip="earlier_waves", values={}))[:6],
    "gates_checkpoints": lambda: gates.rollout_checkpoints("2.5", "60"),
    "gates_checkpoints_often": lambda: gates.rollout_checkpoints(0.05, 0),
    "gates_soak": lambda: [gates.rollout_soak(PLAN, wave, "5") for wave in (1, "2", 3, 9)],
    "gates_leader_names": lambda: [gates.rollout_leader(measured(clusters=[c])["clusters"]) for c in measured()["clusters"][1:]],
    "gates_nobody_leads": lambda: gates.rollout_leader([{}, {"members": [{"name": "db1", "role": "replica"}]}]),
    "state": lambda: states.rollout_state(LINES),
    "state_table": lambda: table(STATUS),
    "state_table_without_status": lambda: table(None),
    "state_table_of_a_wave": lambda: table({}, wave="2"),
    "state_table_of_some": lambda: [*table(STATUS, codes="BBB,,CCC"), *table(STATUS, codes=["AAA"])],
    "state_proofs_table": lambda: states.rollout_proofs_table(PROOFS).splitlines(),
    "state_metrics": lambda: states.rollout_metrics([*LINES, moa('Q"\\\n', "proven")], PLAN).splitlines(),
    "state_metrics_of_gates": lambda: states.rollout_metrics([], PLAN, gate_rows(skip="earlier_waves", values={})).splitlines()[-11:],
    "state_wave_entries": lambda: [states.rollout_wave_entry(LINES, PLAN, wave, ended=ended) for wave in (1, "2", 3) for ended in (True, False)],
    "state_events": lambda: states.rollout_events(LINES),
    "state_results": lambda: [
        states.rollout_result([*LINES, {"kind": "wave", "wave": 7, "state": state}], "7", [{"ok": open_}])
        for state in ("started", "incomplete", "taken back", "complete")
        for open_ in (True, False)
    ],
    "state_touched": lambda: states.rollout_touched_waves(MOAS, LINES, PLAN),
    "state_news": lambda: states.rollout_news(
        [LINES[3], {**LINES[3], "detail": "other"}, {**LINES[3], "users": 1}, {"kind": "wave", "wave": 2, "state": "complete"}, LINES[1]],
        LINES,
        "later",
        "omar",
    ),
    "state_no_copies": lambda: states.rollout_agreed([{"unreachable": True}]),
    "state_damaged": lambda: states.rollout_agreed(
        [{"lines": [], "problem": "line 2 was changed"}, {"item": {"name": "db2"}, "lines": [], "problem": "x"}]
    ),
    "state_conflict": lambda: states.rollout_agreed(
        [{"item": {"name": "db1"}, "lines": [{"n": 1}]}, {"item": {"name": "db2"}, "lines": [{"n": 2}, {"n": 3}]}]
    ),
    "state_agreed": lambda: states.rollout_agreed([{"lines": [{"n": 1}]}, {"lines": [{"n": 1}, {"n": 2}]}, {"lines": []}]),
    "report": lambda: rollout_report(LINES, PLAN, "1", STATUS, [{"gate": "ready"}], SAMPLES, LIMITS, ASKED, "Asia/Manila"),
    "report_of_groups": lambda: rollout_report(
        [
            {"kind": "wave", "wave": 1, "state": "strange", "detail": "why not", **SIGNED},
            {"kind": "restore_point", "wave": 1, "name": "one", **SIGNED},
            {"kind": "restore_point", "wave": 1, "name": "two", **SIGNED},
            moa("AAA", "proven", detail="sees 7"),
            moa("BBB", "proven", detail="sees 8"),
            moa("AAA", "failed", detail="no space"),
            moa("BBB", "failed", detail="no mail"),
            moa("AAA", "failed", detail="no mail", who="omar"),
        ],
        PLAN,
        1,
        samples=[{"p95_seconds": 1, "cpu_percent": 20}],
        limits={"p95_seconds": 3, "cpu_percent": 80},
        asked={"p95_seconds": "answers (p95) (s)"},
    ),
    "report_of_nothing": lambda: rollout_report([], PLAN, 3),
    "report_of_gaps": lambda: rollout_report(
        [moa("AAA", "suspended", detail="asked for"), moa("BBB", "suspended", detail="asked for"), moa("BBB", "odd")],
        PLAN,
        1,
        samples=[{"p95_seconds": None, "errors_percent": 2}],
        limits=LIMITS,
        asked=ASKED,
    ),
    "commands": lambda: commands.rollout_command(
        ["onboard", "{code}", "{lower}", "{app_type}", "{proof_user}", "{extra}", 5],
        MOAS[2],
        {"types": {"special": "other"}, "proof_user": "p-{lower}-{code}", "extra": "x"},
    ),
    "commands_plain": lambda: commands.rollout_command(["status", "{wave}"], {"wave": 3}),
    "commands_unknown_word": lambda: commands.rollout_command(["onboard", "{kode}"], MOAS[0]),
    "commands_position": lambda: commands.rollout_command(["onboard", "{}"], {"wave": 3}),
    "commands_outcomes": lambda: commands.rollout_outcomes(
        [
            result(),
            result("BBB", stdout='log\n{"created": true}\n[1]'),
            result("CCC", 1, "", "a\n\nCommandError: no space\n"),
            result("DDD", 2, "", ""),
            {**result(), "unreachable": True, "msg": "host is gone"},
            {"skipped": True},
            result("EEE", 1, '{"changed": true}', "Traceback\n  at x\ndb.OperationalError: gone: y\n  hint"),
            {"item": {"code": "FFF"}, "msg": "one\ntwo"},
        ]
    ),
    "commands_organisations": lambda: [
        commands.rollout_organisations(each, needed)
        for each, needed in (
            (result(stdout='{"organisations": [{"code": 7}]}'), True),
            (None, True),
            ({"skipped": True}, True),
            (result(rc=1), False),
        )
    ],
    "commands_organisations_fail": lambda: commands.rollout_organisations(result(rc=1, stdout="", stderr="no database")),
    "commands_passwords": lambda: commands.rollout_passwords(MOAS[:2], "secret"),
    "commands_tenants": lambda: commands.rollout_tenants(
        MOAS[:3],
        {"AAA": {"newest_record": 7}, "BBB": {"newest_record": None}, "CCC": {"newest_record": 0}},
        {"AAA": "a", "BBB": "b", "CCC": "c"},
        "u-{lower}-{code}",
    ),
    "commands_shares": lambda: commands.rollout_shares(MOAS[:3], [{"name": "web1"}, {"name": "web2"}]),
    "commands_no_clients": lambda: commands.rollout_shares(MOAS, []),
    "commands_proofs": lambda: commands.rollout_proofs(
        [{"proofs": PROOFS[:1]}, {"item": {"name": "web2", "tenants": [{"code": "BBB"}, {"code": "CCC"}]}}]
    ),
    "commands_unproven": lambda: commands.rollout_unproven(MOAS[:2]),
    "commands_set_back": lambda: commands.rollout_set_back(PROOFS, MOAS, ["BBB"]),
    "commands_present": lambda: [
        [each["code"] for each in commands.rollout_present(MOAS, status, ["AAA"])] for status in (STATUS, {}, {"AAA": {"state": "suspended"}})
    ],
    "commands_inside": lambda: commands.rollout_still_inside(MOAS, STATUS, PROOFS),
    "commands_preview": lambda: commands.rollout_preview(MOAS, STATUS, {"AAA": 20, "BBB": 9}).splitlines(),
    "commands_preview_nothing": lambda: commands.rollout_preview([], {}, {}),
    "commands_entries": lambda: commands.rollout_entries(
        MOAS, [{**proof, "changed": proof["code"] == "AAA"} for proof in PROOFS], "proven", settled=["AAA", "BBB"]
    ),
    "commands_entries_settled": lambda: commands.rollout_entries(MOAS, PROOFS, "proven", "suspended", ["AAA"]),
    "plan": lambda: plans.rollout_plan(PLAN_TEXT, CALENDAR, hosts=1),
    "plan_one_mistake": lambda: plans.rollout_plan(PLAN_TEXT.replace("AAA", "aaa")),
    "plan_two_mistakes": lambda: plans.rollout_plan(PLAN_TEXT.replace("AAA", "aaa").replace("office", "bureau")),
    "plan_calendar_mistake": lambda: plans.rollout_plan(PLAN_TEXT, CALENDAR.replace("Amina", "")),
    "plan_calendar_columns": lambda: plans.rollout_plan(PLAN_TEXT, "wave,start\n1,2027-01-04\n"),
    "plan_too_many_users": lambda: plans.rollout_plan(PLAN_TEXT, CALENDAR, hosts=1, users_per_host=1),
    "plan_too_many_users_as_problems": lambda: plans.rollout_plan_problems(PLAN_TEXT, CALENDAR, hosts=2, users_per_host="10"),
    "plan_exactly_full": lambda: plans.rollout_plan(PLAN_TEXT, hosts="5", users_per_host="13")["carries"],
    "plan_without_calendar": lambda: plans.rollout_plan(PLAN_TEXT)["waves"],
    "plan_of_examples": lambda: plans.rollout_plan(PLAN_TEXT, "# Example dates only\n" + CALENDAR)["example"],
    "plan_problems": lambda: plans.rollout_plan_problems(
        "code,name,type,wave,users\naaa,,bureau,one,0\nB_,B,office,0,-1\nCCC,C,office,1,1\nCCC,C,office,1,1\n" + "D" * 21 + ",D,office,1,1\n"
    ),
    "plan_gaps": lambda: plans.rollout_plan_problems("code,name,type,wave,users\nA,A,office,2,1\nB,B,office,5,1\n"),
    "plan_calendar_problems": lambda: plans.rollout_plan_problems(
        "code,name,type,wave,users\nA,A,office,1,1\nB,B,office,2,1\nC,C,office,3,1\n",
        "wave,start,days,coordinator,soak_minutes\n1,tomorrow,x,,long\n1,2027-01-01,0,Ann,1.\n9,2027-01-01,1,Ann,\nx,2027-01-01,1,Ann,1.5\n",
    ),
    "plan_overlaps": lambda: plans.rollout_plan_problems(
        "code,name,type,wave,users\nA,A,office,1,300\nB,B,office,2,1\n",
        "wave,start,days,coordinator,soak_minutes\n1,2027-01-01,14,Ann,\n2,2027-01-14,14,Ann,\n",
        hosts=1,
    ),
    "plan_columns": lambda: plans.rollout_plan_problems("code,name\nA,B\n"),
    "plan_empty_rows": lambda: plans.rollout_plan("\ufeff\n# a remark\n code , name,type,wave,users\n\n A , B ,office, 1 ,2\n,,,,\n"),
    "plan_uneven": lambda: plans.rollout_plan_problems("code,name,type,wave,users\n# x\nA,B,office,1\n"),
    "plan_no_rows": lambda: plans.rollout_plan_problems("code,name,type,wave,users\n"),
    "choice": lambda: [[each["code"] for each in plans.rollout_choice(PLAN, *given)] for given in CHOICES],
    "choice_none": lambda: plans.rollout_choice(PLAN),
    "choice_unknown_wave": lambda: plans.rollout_choice(PLAN, "4"),
    "choice_no_wave": lambda: plans.rollout_choice(PLAN, "one"),
    "choice_unknown": lambda: plans.rollout_choice(PLAN, 1, "AAA,XXX,YYY"),
    "choice_elsewhere": lambda: plans.rollout_choice(PLAN, 1, "AAA,CCC,DDD"),
    "choice_several_waves": lambda: plans.rollout_choice(PLAN, "", "AAA,CCC", True),
    "users": lambda: plans.rollout_users(
        "organisation_code,full_name,email,username,role\nAAA,Ann,ann@a.example,ann,admin\nAAA,Al,al@a.example,al,viewer\nBBB,Ben,ben@b.example,ben,staff\n",
        PLAN,
        MOAS[:2],
    ),
    "users_problems": lambda: plans.rollout_users(
        "organisation_code,full_name,email,username,role\n,,,,\nCCC,,nobody,ann,boss\nAAA,Ann,A@a.example,ann,admin\nAAA,Al,a@a.example,,\n",
        PLAN,
        MOAS[:2],
        "users/1.csv",
    ),
    "users_missing": lambda: plans.rollout_users(" \n", PLAN, MOAS[:2]),
    "users_columns": lambda: plans.rollout_users("organisation_code\nAAA\n", PLAN, MOAS[:2], "users/1.csv"),
    "budget_memory_of_some": lambda: budget(postgres={"db1": {"max_connections": 500}, "db2": {**DATABASE, "memory_mb": 100}}),
    "budget_memory_of_one_connection": lambda: budget(postgres={"db1": {"max_connections": 1, "memory_mb": 1}}),
    "budget_least_numbers": lambda: connection_budget(
        {
            "app": {"web1": {"workers": 1, "threads": 1}},
            "celery": {"web1": {"concurrency": 1}},
            "pgbouncer": {"web1": {"default_pool_size": 1, "max_client_conn": 1}},
            "postgres": {"db1": {"max_connections": 1, "memory_mb": 1}},
        }
    ),
    "budget_memory_1_mb": lambda: budget(postgres={"db1": {**DATABASE, "max_connections": 8, "shared_buffers": "4096MB", "memory_mb": 4104}}),
    **{f"budget_wrong_{number}": wrong for number, wrong in enumerate(WRONG_NUMBERS, 1)},
    **{f"flow_{number}": wrong for number, wrong in enumerate(FLOWS, 1)},
    **{f"postgres_error_{number}": wrong for number, wrong in enumerate(HOST_ERRORS, 1)},
    **shown_backup.CASES,
    **shown_change.CASES,
    **shown_rollout.CASES,
}


@pytest.mark.parametrize("name", CASES)
def test_a_whole_result(name: str) -> None:
    try:
        found = CASES[name]()
    except ValueError as error:
        found = {"error": str(error)}
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
    path = SHOWN / f"{name}.json"
    if os.environ.get("SHOWN") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} is another; see the top of this file"


def test_no_result_is_left_over() -> None:
    assert {path.stem for path in SHOWN.glob("*.json")} == set(CASES)
