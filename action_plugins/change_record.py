"""Runs the module change_record on a keeper. One that does not answer is an answer like any other: the majority does without it."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Ansible ends a run where a task that runs once meets an unreachable host, whatever ignore_unreachable says."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._execute_module(task_vars=task_vars))
        except AnsibleConnectionFailure as error:
            result.update(changed=False, ok=False, why="no answer", msg=str(error))
        return result
