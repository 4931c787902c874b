"""What a task registers or sets as a fact stays for the rest of the run, and wins over a variable of that name that a later task brings along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted([*PROJECT.glob("roles/*/tasks/*.yml"), *PROJECT.glob("roles/*/handlers/*.yml")])


def tasks(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in listed:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part, []))


def everywhere() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        for task in tasks(yaml.safe_load(path.read_text()) or []):
            yield f"{path.parts[-3]}/{path.name}", task


def kept() -> dict[str, str]:
    """Names that outlive their task, and where they are given."""
    found = {task["register"]: place for place, task in everywhere() if "register" in task}
    return found | {name: place for place, task in everywhere() for name in task.get("ansible.builtin.set_fact", {}) if name != "cacheable"}


def test_no_variable_of_a_task_is_hidden_by_a_fact() -> None:
    # What is handed to an included role or file wins over facts.
    plain = [(place, task) for place, task in everywhere() if not any("include" in key for key in task)]
    facts = kept()
    hidden = {f"{name} of {place}, kept by {facts[name]}" for place, task in plain for name in task.get("vars", {}) if name in facts}
    assert hidden == set()
