"""Which handlers a loop over files notifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from changed_handlers import changed_handlers

PROJECT = Path(__file__).resolve().parents[2]


def registered(*results: tuple[bool, dict[str, Any]]) -> dict[str, Any]:
    return {"changed": any(changed for changed, _ in results), "results": [{"changed": changed, "item": item} for changed, item in results]}


def test_only_items_that_changed_count() -> None:
    items = [(False, {"notify": "Restart"}), (True, {"notify": "Reload"}), (True, {"path": "/etc/x"})]
    assert changed_handlers(registered(*items)) == ["Reload"]


def test_each_handler_comes_once_in_the_order_of_the_items() -> None:
    items = [(True, {"notify": ["B", "A"]}), (True, {"notify": "C"}), (True, {"notify": "A"}), (True, {"notify": []})]
    assert changed_handlers(registered(*items)) == ["B", "A", "C"]


@pytest.mark.parametrize("nothing", [{"changed": False, "skipped": True}, registered((False, {}))])
def test_what_was_skipped_notifies_nobody(nothing: dict[str, Any]) -> None:
    assert changed_handlers(nothing) == []


@pytest.mark.parametrize("wrong", [None, [], "Reload", {"results": []}])
def test_what_no_task_registered_is_refused(wrong: object) -> None:
    with pytest.raises(AnsibleFilterError, match="changed_handlers: this is not what a task registered"):
        changed_handlers(wrong)


@pytest.mark.parametrize("path", sorted(PROJECT.glob("roles/*/tasks/*.yml")), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_loop_notifies_by_its_items_only_through_the_filter(path: Path) -> None:
    looped = [task for task in yaml.safe_load(path.read_text()) or [] if "item" in str(task.get("notify", ""))]
    assert [task["name"] for task in looped if "changed_handlers" not in task["loop"]] == []
