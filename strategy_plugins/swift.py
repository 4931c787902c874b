"""Strategy `swift`: Mitogen's linear strategy where Mitogen is installed, Ansible's own linear strategy where it is not.

Both run the same tasks in the same order; Mitogen needs about a seventh of the CPU time.
What needs no host (includes, facts that are set, assertions, a task that is skipped) runs in the main process, where stock Ansible forks one for each
task and host.
What Jinja has compiled in one worker, the others read from a folder of the run.
OBCMS_STRATEGY=linear chooses the stock strategy for all of it.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from ansible import constants
from ansible._internal import _task
from ansible._internal._templating import _engine
from ansible._internal._templating._jinja_bits import AnsibleEnvironment, _TemplateCompileContext
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.plugins.loader import filter_loader, get_plugin_loader_namespace, test_loader
from jinja2.bccache import Bucket, FileSystemBytecodeCache
from jinja2.environment import TemplateExpression

DOCUMENTATION = """
name: swift
short_description: linear, through Mitogen where it is installed
description:
  - Runs each task on all hosts before the next, as the linear strategy does.
  - Uses Mitogen's connection and module loading where the package is installed beside ansible-core.
  - Runs actions that only compute on the controller, and finds out that a condition skips a task, in the main process instead of a forked one.
  - Compiles each template and condition once for a run instead of once for each task and host.
  - The environment variable E(OBCMS_STRATEGY) set to V(linear) turns all of it off.
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
    import mitogen.core
    import mitogen.minify

    # Mitogen binds its multiplexer to the first core and the rest to others: with two cores all runs of a machine would share one of them.
    ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()

    # What travels to a host is taken as it is: removing its comments is done anew in each run, in Python, and costs more than sending them.
    mitogen.minify.minimize_source = mitogen.core.to_text

    # Asked of Ansible's own loader: a second import of the module would register its debugger twice.
    _Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)

    class _Base(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear, over Mitogen."""
else:
    from ansible.plugins.strategy.linear import StrategyModule as _Base


class _Environment(AnsibleEnvironment):
    """Ansible's Jinja environment, in which a worker finds what another one has compiled.

    The folder is the run's own: compiled code depends on the filters, so it is not kept for the next run.
    """

    _kept = FileSystemBytecodeCache(constants.DEFAULT_LOCAL_TMP)
    _expression: Bucket | None = None

    def _bucket(self, kind: str, source: str) -> Bucket:
        context = _TemplateCompileContext.current(optional=True)
        return self._kept.get_bucket(self, f"{kind} {context and context.escape_backslashes} {source}", None, source)

    def compile(self, source: Any, *args: Any, **options: Any) -> Any:
        # Other words: a file that a template includes. An overlay: a template with a syntax of its own.
        bucket = None if args or options or self.overlayed else self._bucket("template", source) if isinstance(source, str) else self._expression
        if bucket is None:
            return super().compile(source, *args, **options)
        if bucket.code is None:
            bucket.code = super().compile(source)
            self._kept.set_bucket(bucket)
        return bucket.code

    def compile_expression(self, source: str, undefined_to_none: bool = True) -> TemplateExpression:
        bucket = self._bucket("expression", source)
        if bucket.code:
            return TemplateExpression(self.template_class.from_code(self, bucket.code, self.make_globals(None)), undefined_to_none)
        # Jinja makes a template of it and hands that to compile().
        self._expression = bucket
        try:
            return super().compile_expression(source, undefined_to_none)
        finally:
            self._expression = None


if not STOCK:
    _engine.AnsibleEnvironment = _Environment


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
        computes = task.action in HERE and not (task.until or task.timeout or task.async_val)
        if not STOCK and (computes or self._is_skipped(task, task_vars)):
            self._run_here(host, task, task_vars, play_context)
        else:
            super()._queue_task(host, task, task_vars, play_context)

    @staticmethod
    def _is_skipped(task: Any, task_vars: dict[str, Any]) -> bool:
        """Whether a condition says no. A loop asks for each item, and an error is told by the process that runs the task: both are no here."""
        if not task.when or task.loop is not None or task.loop_with:
            return False
        try:
            with _task.TaskContext(task):
                return not task._resolve_conditional(task.when, task_vars)
        except Exception:
            return False

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
