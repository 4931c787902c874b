from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import capacity_planning

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "capacity_planning.py"
NOW = datetime.datetime(2026, 1, 31, 10, 15, tzinfo=datetime.UTC)
HOST = {"vcpus": 8, "memory_mb": 65536, "disk_gb": 200}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_the_figures_of_the_facts() -> None:
    plan = capacity_planning.plan(44, 1000, NOW)
    assert plan == {
        "metadata": {
            "generated_at": "2026-01-31T10:15:00+00:00",
            "bmms_phase": "Phase 8",
            "moas": 44,
            "expected_users": 1000,
            "users_per_moa": 23,
        },
        "database": {
            "max_connections": 3720,
            "recommended_connections": 500,
            "pgbouncer_pool_size": 50,
            "pgbouncer_max_clients": 3720,
            "storage_gb": 16,
            "ram_gb": 64,
            "shared_buffers_gb": 16,
            "work_mem_mb": 16,
            "read_replicas": 2,
            "backup_retention_days": 30,
            "estimated_backup_size_gb": 16,
        },
        "application_servers": {
            "cpu_cores_per_server": 8,
            "gunicorn_workers": 17,
            "gunicorn_threads": 2,
            "ram_gb_per_server": 6,
            "users_per_server": 200,
            "server_count": 5,
            "total_cpu_cores": 40,
            "total_ram_gb": 30,
        },
        "cache": {
            "memory_gb": 8,
            "master_nodes": 1,
            "replica_nodes": 2,
            "sentinel_nodes": 3,
            "total_memory_gb": 24,
            "persistence": "AOF + RDB",
            "eviction_policy": "allkeys-lru",
        },
        "celery": {
            "worker_count": 5,
            "cpu_cores_per_worker": 2,
            "ram_gb_per_worker": 2,
            "concurrency_per_worker": 4,
            "beat_scheduler": 1,
            "total_cpu_cores": 10,
            "total_ram_gb": 10,
        },
        "storage": {
            "total_storage_gb": 100,
            "user_uploads_gb": 9,
            "static_files_gb": 1,
            "media_cache_gb": 2,
            "logs_gb": 20,
            "backup_storage_gb": 200,
            "cdn_enabled": True,
        },
        "network": {
            "bandwidth_mbps": 1400,
            "bandwidth_gbps": 1.4,
            "peak_requests_per_second": pytest.approx(333, abs=0.5),
            "avg_requests_per_second": pytest.approx(167, abs=0.5),
        },
        "cost_estimate": {
            "application_servers_usd": 750,
            "database_usd": 400,
            "cache_usd": 150,
            "load_balancer_usd": 50,
            "storage_usd": 10,
            "bandwidth_usd": 50,
            "total_monthly_usd": 1410,
            "total_annual_usd": 16920,
        },
    }


@pytest.mark.parametrize(
    ("users", "ram", "buffers"),
    [(1, 8, 2), (199, 8, 2), (200, 16, 4), (499, 16, 4), (500, 32, 8), (999, 32, 8), (1000, 64, 16), (90000, 64, 16)],
)
def test_database_memory_by_users(users: int, ram: int, buffers: int) -> None:
    database = capacity_planning.plan(44, users, NOW)["database"]
    assert (database["ram_gb"], database["shared_buffers_gb"]) == (ram, buffers)


@pytest.mark.parametrize(("users", "servers"), [(1, 4), (800, 4), (801, 5), (1000, 5), (1001, 6), (1600, 8), (5000, 8)])
def test_servers_are_held_between_four_and_eight(users: int, servers: int) -> None:
    assert capacity_planning.plan(44, users, NOW)["application_servers"]["server_count"] == servers


@given(st.integers(1, 2000), st.integers(1, 200_000))
def test_figures_equal_the_formulas(moas: int, users: int) -> None:
    plan = capacity_planning.plan(moas, users, NOW)
    storage = math.ceil(Fraction(2 * (500 + 50 * moas + 5 * users), 1024))
    assert plan["metadata"]["users_per_moa"] == -(-users // moas)
    assert plan["database"]["max_connections"] == -(-(3 * users + 100) * 12 // 10) == plan["database"]["pgbouncer_max_clients"]
    assert plan["database"]["storage_gb"] == storage == plan["database"]["estimated_backup_size_gb"]
    cache = math.ceil(Fraction(3, 2) * (Fraction(users * 50, 1024) + 600 + Fraction(storage * 1024, 5)) / 1024)
    assert plan["cache"]["memory_gb"] == min(32, max(8, cache))
    assert plan["cache"]["total_memory_gb"] == 3 * plan["cache"]["memory_gb"]
    total = min(1024, max(100, math.ceil(2 * (Fraction(moas * 100, 1024) + Fraction(23, 2)))))
    assert plan["storage"]["total_storage_gb"] == total
    assert plan["storage"]["backup_storage_gb"] == 2 * total
    assert plan["storage"]["user_uploads_gb"] == -(-2 * moas * 100 // 1024)
    bandwidth = math.ceil(Fraction(users * 10 * 500 * 2 * 8, 60 * 1024 * 100)) * 100
    assert plan["network"]["bandwidth_mbps"] == max(1000, bandwidth)
    assert plan["network"]["bandwidth_gbps"] == plan["network"]["bandwidth_mbps"] / 1000
    assert plan["network"]["peak_requests_per_second"] == users * 20 / 60
    assert plan["network"]["avg_requests_per_second"] == users * 10 / 60
    cost = plan["cost_estimate"]
    assert cost["storage_usd"] == -(-total * 10 // 100)
    assert cost["total_monthly_usd"] == 150 * plan["application_servers"]["server_count"] + 650 + cost["storage_usd"]
    assert cost["total_annual_usd"] == 12 * cost["total_monthly_usd"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--moas", "0", "--users", "5"], "argument --moas: '0' is no number of MOAs; give a whole number from 1 to 100000"),
        (["--moas", "44", "--users", "-5"], "argument --users: '-5' is no number of users; give a whole number from 1 to 100000000"),
        (["--moas", "44", "--users", "many"], "argument --users: 'many' is no number of users; give a whole number from 1 to 100000000"),
        (["--moas", "44", "--users", "1.5"], "argument --users: '1.5' is no number of users; give a whole number from 1 to 100000000"),
        (["--moas", "44", "--users", "1_000"], "argument --users: '1_000' is no number of users; give a whole number from 1 to 100000000"),
        (["--moas", "44", "--users", "9" * 5000], f"argument --users: {'9' * 5000!r} is no number of users; give a whole number from 1 to 100000000"),
        (["--moas", "", "--users", "5"], "argument --moas: '' is no number of MOAs; give a whole number from 1 to 100000"),
        (["--moas", "44"], "the following arguments are required: --users"),
        (["--moas", "44", "--users"], "argument --users: expected one argument"),
        (["--moas", "44", "--users", "5", "--fast"], "unrecognized arguments: --fast"),
        (
            ["--moas", "44", "--users", "5", "--export-json", "/nowhere/plan.json"],
            "cannot write '/nowhere/plan.json': No such file or directory; choose another file",
        ),
        (["--moas", "44", "--users", "5", "--export-json", "/"], "cannot write '/': Is a directory; choose another file"),
        (
            ["--moas", "44", "--users", "5", "--inventory", "/nowhere"],
            "inventory '/nowhere' does not exist; give a folder like inventories/prod",
        ),
    ],
)
def test_nonsense_gets_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"capacity_planning: {message}\n")


def test_a_broken_inventory_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: [this, is, no, inventory]\n")
    done = run("--moas", "44", "--users", "5", "--inventory", str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"capacity_planning: inventory {str(tmp_path)!r} ")


def test_json_is_the_plan_and_so_is_the_file(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    done = run("--moas", "44", "--users", "1000", "--json", "--export-json", str(target))
    printed, written = json.loads(done.stdout), json.loads(target.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert printed == written
    assert list(printed) == ["metadata", "database", "application_servers", "cache", "celery", "storage", "network", "cost_estimate"]


def test_people_get_tables_without_colour_codes() -> None:
    done = run("--moas", "44", "--users", "1000")
    assert done.returncode == 0
    assert "\033" not in done.stdout
    for words in (
        "44 MOAs, 1,000 users (23 per MOA)",
        "Max connections             3,720",
        "Peak requests per second    333",
        "Total annual         16,920",
    ):
        assert words in done.stdout


def fleet(servers: int, capacity: dict[str, int] | None) -> tuple[dict[str, list[str]], dict[str, dict[str, int]]]:
    groups = {
        "app": [f"web{number}" for number in range(1, servers + 1)],
        "celery": [f"worker{number}" for number in range(1, 6)],
        "postgres": ["db1", "db2", "db3"],
        "redis": ["redis1", "redis2", "redis3"],
        "sentinel": ["redis1", "redis2", "redis3"],
    }
    hosts = {host for members in groups.values() for host in members}
    return groups, dict.fromkeys(sorted(hosts), capacity) if capacity else {}


def test_a_fleet_as_planned_is_not_short() -> None:
    found = capacity_planning.compare(capacity_planning.plan(44, 1000, NOW), *fleet(5, HOST))
    assert [row for row in found["rows"] if row["short"]] == []
    assert found["carries_users"] == 800
    assert (found["unknown_hosts"], found["problems"]) == ([], [])


def test_what_is_short_is_named() -> None:
    small = {"vcpus": 2, "memory_mb": 2048, "disk_gb": 10}
    found = capacity_planning.compare(capacity_planning.plan(44, 1000, NOW), *fleet(4, small))
    short: dict[tuple[str, str], Any] = {(row["tier"], row["what"]): row["short"] for row in found["rows"] if row["short"]}
    assert short == {
        ("application", "servers"): 1,
        ("application", "gunicorn workers"): 65,
        ("application", "cores"): 32,
        ("database", "memory of the smallest host (GB)"): 62,
        ("database", "disk of the smallest host (GB)"): 6,
        ("cache", "memory of the smallest host (GB)"): 14,
    }
    assert found["carries_users"] == 176


def test_a_single_server_carries_what_it_can() -> None:
    found = capacity_planning.compare(capacity_planning.plan(1, 10, NOW), *fleet(1, HOST))
    assert found["carries_users"] == 200


def test_unknown_capacity_is_said() -> None:
    found = capacity_planning.compare(capacity_planning.plan(44, 1000, NOW), *fleet(5, None))
    assert found["carries_users"] is None
    assert "web1" in found["unknown_hosts"]


def test_inventory_with_declared_capacity(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        "all:\n  vars: {host_capacity: {vcpus: 8, memory_mb: 65536, disk_gb: 200}}\n  children:\n"
        "    app: {hosts: {capweb1: {}, capweb2: {}}}\n    postgres: {hosts: {capdb1: {}}}\n"
    )
    done = run("--moas", "44", "--users", "100", "--inventory", str(tmp_path))
    assert done.returncode == 1
    assert "Short: 2 servers (application)" in done.stdout
    assert "This fleet carries 200 users with one application server in reserve." in done.stdout
