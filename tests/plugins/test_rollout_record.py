"""The action `rollout_record`: a host that does not answer is no copy of the record, and no unreachable host either."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from rollout_state import rollout_agreed

SOURCE = Path(__file__).parents[2] / "action_plugins" / "rollout_record.py"
LINES = [{"kind": "moa", "moa": "AAA", "state": "proven"}]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("rollout_record_action", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rollout_record = load()


@pytest.fixture(autouse=True)
def _no_base_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_record.ActionBase, "run", lambda *_, **__: {})


def answer(name: str, error: Exception | None = None) -> dict[str, Any]:
    """What a loop over the hosts registers of one."""

    def execute(**_: Any) -> dict[str, Any]:
        if error:
            raise error
        return {"changed": True, "lines": LINES, "problem": ""}

    action = object.__new__(rollout_record.ActionModule)
    action._task, action._execute_module = SimpleNamespace(args={}), execute
    return {**action.run(), "item": {"name": name}}


def test_the_record_is_what_the_hosts_that_answer_return() -> None:
    lost, kept = answer("backup1", AnsibleConnectionFailure("no route to host")), answer("mon1")
    assert (lost["changed"], lost["msg"]) == (False, "no route to host")
    assert not {"unreachable", "failed", "lines"} & set(lost)
    assert (kept["changed"], rollout_agreed([lost, kept])) == (True, LINES)
