"""Strategy `swift`: Mitogen's linear strategy where Mitogen is installed, Ansible's own linear strategy where it is not.

Both run the same tasks in the same order; Mitogen needs about a seventh of the CPU time.
What needs no host (includes, facts that are set, assertions) runs in the main process, where stock Ansible forks one for each task and host.
OBCMS_STRATEGY=linear chooses the stock strategy for all of it.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from ansible._internal import _task
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.plugins.loader import filter_loader, get_plugin_loader_namespace, test_loader

DOCUMENTATION = """
name: swift
short_description: linear, through Mitogen where it is installed
description:
  - Runs each task on all hosts before the next, as the linear strategy does.
  - Uses Mitogen's connection and module loading where the package is installed beside ansible-core.
  - Runs actions that only compute on the controller in the main process instead of a forked one.
  - The environment variable E(OBCMS_STRATEGY) set to V(linear) turns both off.
author: the OBCMS platform team
"""

STOCK = os.environ.get("OBCMS_STRATEGY") == "linear"
# They ask no host, change nothing outside the run and end at once.
HERE = {f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")}


def _mitogen_wanted() -> bool:
    if STOCK:
        return False
    try:
        import ansible_mitogen  # noqa: F401
    except ImportError:
        return False
    return True


if _mitogen_wanted():
    import ansible_mitogen.affinity
    import ansible_mitogen.loaders
    import ansible_mitogen.strategy

    # Mitogen binds its multiplexer to the first core and the rest to others: with two cores all runs of a machine would share one of them.
    ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()

    # Asked of Ansible's own loader: a second import of the module would register its debugger twice.
    _Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)

    class _Base(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear, over Mitogen."""
else:
    from ansible.plugins.strategy.linear import StrategyModule as _Base


class StrategyModule(_Base):
    """Linear, with fewer worker processes, and every filter and test compiled before the first of them is forked."""

    def run(self, iterator: Any, play_context: Any) -> Any:
        # Ansible compiles them where they are first used, which is in the worker: once for each task and host.
        for loader in (filter_loader, test_loader):
            list(loader.all())
        # What exists by now stays out of the garbage collector's rounds, so that workers share its pages with the parent instead of copying them.
        gc.freeze()
        return super().run(iterator, play_context)

    def _queue_task(self, host: Any, task: Any, task_vars: dict[str, Any], play_context: Any) -> None:
        # A limit of time works by a signal, and repeating it would keep the other hosts waiting: both belong into a process of their own.
        if STOCK or task.action not in HERE or task.until or task.timeout or task.async_val:
            super()._queue_task(host, task, task_vars, play_context)
        else:
            self._run_here(host, task, task_vars, play_context)

    def _run_here(self, host: Any, task: Any, task_vars: dict[str, Any], play_context: Any) -> None:
        """What a worker process does with a task (ansible.executor.process.worker), on copies, since these are not thrown away with a process."""
        self._queued_task_cache[(host.name, task._uuid)] = {"host": host, "task": task, "task_vars": task_vars, "play_context": play_context}
        self._tqm.send_callback("v2_runner_on_start", host, task)
        own = task.copy(exclude_parent=True, exclude_tasks=True)
        own._parent = task._parent
        with _task.TaskContext(own):
            said = TaskExecutor(
                host, own, task_vars.copy(), play_context, self._loader, get_plugin_loader_namespace(), self._final_q, self._variable_manager
            ).run()
            self._final_q.send_task_result(_RawTaskResult(host=host, task=own, return_data=said, task_fields=own.dump_attrs()))
        self._pending_results += 1
