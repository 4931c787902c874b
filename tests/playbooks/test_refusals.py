"""What is asked for wrongly is refused before anything changes, and the message says what to ask for instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from running import run_playbook

LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable, "ansible_host": "127.0.0.1"}


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"children": {"app": {"hosts": {"web1": LOCAL, "web2": LOCAL}}}}}))
    return str(path)


def test_updates_without_the_controller(inventory: str) -> None:
    text = run_playbook("playbooks/os_update.yml", inventory, {}, False, "--limit", "web1")
    assert "--limit leaves out the controller, which keeps order and lock; use --limit 'web1,localhost'" in text


def test_updates_with_an_unknown_word_for_restarts(inventory: str) -> None:
    text = run_playbook("playbooks/os_update.yml", inventory, {"reboot": "yes"}, False, "--limit", "web1,localhost")
    assert 'reboot is "yes"; use -e reboot=always or -e reboot=never' in text


def test_a_switchover_past_a_pooler(inventory: str) -> None:
    given = {"switchover_poolers": [{"name": "web1", "address": "127.0.0.1"}, {"name": "web2", "address": "127.0.0.1"}]}
    text = run_playbook("tests/playbooks/switchover/move.yml", inventory, given, False)
    assert "switchover: web2 would not hold queries, because --limit leaves them out. Nothing was changed" in text
