"""Every role has a scenario of its name, or molecule/README.md says which one tests it; and each has a fault that its scenario finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if (path / "tasks").is_dir())
# Rows of the table: | role | scenario |
ELSEWHERE = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", (PROJECT / "molecule" / "README.md").read_text(), re.MULTILINE))
FAULTS: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "tests/faults/faults.yml").read_text())


def scenario_of(role: str) -> Path:
    return PROJECT / "molecule" / ELSEWHERE.get(role, role)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario(role: str) -> None:
    scenario = scenario_of(role)
    assert (scenario / "converge.yml").is_file()
    assert (scenario / "verify.yml").is_file() or list(scenario.glob("tests/test_*.py"))
    assert f"molecule test -s {scenario.name}" in (PROJECT / "roles" / role / "README.md").read_text()
    assert re.search(rf"\b{role}\b", "".join(path.read_text() for path in scenario.glob("*.yml")))


def test_the_table_names_only_roles_without_a_scenario() -> None:
    assert set(ELSEWHERE) <= set(ROLES)
    assert [role for role in ELSEWHERE if (PROJECT / "molecule" / role).exists()] == []


@pytest.mark.parametrize("path", sorted(PROJECT.glob("molecule/*/molecule.yml")), ids=lambda path: path.parent.name)
def test_a_scenario_says_only_what_differs(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    assert set(said) <= {"platforms", "verifier"}
    assert all(set(host) <= {"name", "groups", "memory_mb", "volumes"} for host in said["platforms"])
    assert ("verifier" in said) == bool(list(path.parent.glob("tests/test_*.py")))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_fault_on_hosts_of_its_scenario(role: str) -> None:
    fault = FAULTS[role]
    hosts = {host["name"] for host in yaml.safe_load((scenario_of(role) / "molecule.yml").read_text())["platforms"]}
    assert set(fault) == {"fault", "hosts", "command"} | ({"scenario"} if role in ELSEWHERE else set())
    assert fault.get("scenario", role) == scenario_of(role).name
    assert set(fault["hosts"]) <= hosts


def test_there_are_faults_for_roles_only() -> None:
    assert set(FAULTS) <= set(ROLES)
