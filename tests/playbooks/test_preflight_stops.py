"""A sum that does not fit stops whatever changes hosts, before the first of them is touched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "bad_inventories"))
from broken_inventory import write_inventory  # noqa: E402

# Playbooks that go forward. The ways back (rollback.yml), a switchover, the maintenance page and a backup ask nothing: there may be a reason
# to hurry. A restore drill touches the backup host's scratch place only.
SOURCE = '{"app_version": "9.9.9", "release_source": {"type": "directory", "location": "lab/app"}}'
FORWARD = {"site": [], "deploy": ["-e", SOURCE], "rollout_wave": ["-e", "wave=1"], "os_update": []}
# What was typed is judged before, on the controller alone.
BEFORE = {"Version", "What is asked for"}
TOO_MANY = {"vars": {"pgbouncer_settings": {"default_pool_size": 60, "max_db_connections": 66}}}
SUM = (
    "connection_budget: 6 poolers x 91 = 546 connections, but db1, db2 and db3 allow 480 (max_connections 500 less 20 reserved); "
    "lower pgbouncer_settings.max_db_connections to 55 and default_pool_size to 50"
)


def run(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{playbook}.yml", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("playbook", FORWARD)
def test_a_violated_budget_stops_before_any_host(playbook: str, tmp_path: Path) -> None:
    inventory = str(write_inventory(TOO_MANY, tmp_path / "inventory"))
    # Nobody lives at these addresses: what hosts would answer is part of the inventory, and only that task is left out.
    done = run(playbook, "-i", inventory, "--skip-tags", "preflight_measure", *FORWARD[playbook])
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "1 problem(s), nothing was changed" in said
    assert SUM in said
    plays = re.findall(r"^PLAY \[(.*?)\]", done.stdout, re.MULTILINE)
    assert plays[-1] == "Preflight"
    assert set(plays[:-1]) <= BEFORE
    recap = re.findall(r"changed=(\d+)\s+unreachable=(\d+)", done.stdout)
    assert recap
    assert set(recap) == {("0", "0")}
    # What was stopped would have gone on.
    listed = re.findall(r"play #\d+ \(.*?\): (.*?)\s+TAGS", run(playbook, "-i", inventory, "--list-tasks", *FORWARD[playbook]).stdout)
    assert len(listed) > len(plays)


def test_every_playbook_is_known_here() -> None:
    """Who adds a playbook that changes hosts decides whether preflight comes first."""
    without = {"backup", "bootstrap", "history", "maintenance", "preflight", "restore_drill", "rollout_status", "switchover", "verify"}
    playbooks = {path.stem for path in (PROJECT / "playbooks").glob("*.yml") if not path.stem.startswith("rollback")}
    assert playbooks == set(FORWARD) | without
    for name in FORWARD:
        assert "import_playbook: preflight.yml" in (PROJECT / "playbooks" / f"{name}.yml").read_text()
