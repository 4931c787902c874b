"""Runs the module rollout_record on a host that keeps the record. One that does not answer has no copy; rollout_agreed does without it."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Ansible ends a run where a task that runs once meets an unreachable host, whatever ignore_unreachable says (see change_record)."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result of the module; without lines where the host was not reached."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._execute_module(task_vars=task_vars))
        except AnsibleConnectionFailure as error:
            result.update(changed=False, msg=str(error))
        return result
