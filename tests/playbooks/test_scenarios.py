"""Every role has a scenario of its name and a fault that it must find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if (path / "tasks").is_dir())
FAULTS: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "tests/faults/faults.yml").read_text())


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario(role: str) -> None:
    scenario = PROJECT / "molecule" / role
    assert (scenario / "converge.yml").is_file()
    assert (scenario / "verify.yml").is_file() or list(scenario.glob("tests/test_*.py"))
    assert f"molecule test -s {role}" in (PROJECT / "roles" / role / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(PROJECT.glob("molecule/*/molecule.yml")), ids=lambda path: path.parent.name)
def test_a_scenario_says_only_what_differs(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    assert set(said) <= {"platforms", "verifier"}
    assert all(set(host) <= {"name", "groups", "memory_mb", "volumes"} for host in said["platforms"])
    assert ("verifier" in said) == bool(list(path.parent.glob("tests/test_*.py")))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_fault_on_hosts_of_its_scenario(role: str) -> None:
    fault = FAULTS[role]
    hosts = {host["name"] for host in yaml.safe_load((PROJECT / "molecule" / role / "molecule.yml").read_text())["platforms"]}
    assert set(fault) == {"fault", "at", "hosts", "command"}
    assert set(fault["hosts"]) <= hosts


def test_faults_are_listed_for_roles_only() -> None:
    assert set(FAULTS) <= set(ROLES)
