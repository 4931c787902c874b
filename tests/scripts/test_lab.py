"""What lab/lab.py shows of a playbook that failed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LOG = """\
TASK [backup : stanza | Create the place of the cluster in the repository] ****
[ERROR]: Task failed: Module failed: non-zero return code
Origin: roles/backup/tasks/stanza.yml:14:3
fatal: [backup1]: FAILED! =>
    changed: true
    end: '2026-11-27 08:50:11'
    msg: non-zero return code
    stderr: |-
        ERROR: [056]: unable to find primary cluster - cannot proceed

        HINT: are all available clusters in recovery?
ok: [backup2] =>
    msg: nothing of this
"""


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PROJECT / "lab"))
    spec = importlib.util.spec_from_file_location("lab_under_test", PROJECT / "lab" / "lab.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_program_of_a_failed_task_said_is_shown(lab: ModuleType) -> None:
    shown = lab.errors(LOG.splitlines())
    assert shown[0] == "[ERROR]: Task failed: Module failed: non-zero return code"
    assert "        ERROR: [056]: unable to find primary cluster - cannot proceed" in shown
    assert "        HINT: are all available clusters in recovery?" in shown


def test_only_what_failed_is_shown(lab: ModuleType) -> None:
    assert not [line for line in lab.errors(LOG.splitlines()) if "nothing of this" in line or "TASK" in line or "end:" in line]
