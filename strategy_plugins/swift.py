"""Strategy `swift`: Mitogen's linear strategy where Mitogen is installed, Ansible's own linear strategy where it is not.

Both run the same tasks in the same order; Mitogen needs about a seventh of the CPU time.
OBCMS_STRATEGY=linear chooses the stock strategy although Mitogen is there.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from ansible.plugins.loader import filter_loader, test_loader

DOCUMENTATION = """
name: swift
short_description: linear, through Mitogen where it is installed
description:
  - Runs each task on all hosts before the next, as the linear strategy does.
  - Uses Mitogen's connection and module loading where the package is installed beside ansible-core.
  - The environment variable E(OBCMS_STRATEGY) set to V(linear) turns Mitogen off.
author: the OBCMS platform team
"""


def _mitogen_wanted() -> bool:
    if os.environ.get("OBCMS_STRATEGY") == "linear":
        return False
    try:
        import ansible_mitogen  # noqa: F401
    except ImportError:
        return False
    return True


if _mitogen_wanted():
    import ansible_mitogen.loaders
    import ansible_mitogen.strategy

    # Asked of Ansible's own loader: a second import of the module would register its debugger twice.
    _Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)

    class _Base(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear, over Mitogen."""
else:
    from ansible.plugins.strategy.linear import StrategyModule as _Base


class StrategyModule(_Base):
    """Linear, with every filter and test compiled before the first worker process is forked."""

    def run(self, iterator: Any, play_context: Any) -> Any:
        # Ansible compiles them where they are first used, which is in the worker: once for each task and host.
        for loader in (filter_loader, test_loader):
            list(loader.all())
        # What exists by now stays out of the garbage collector's rounds, so that workers share its pages with the parent instead of copying them.
        gc.freeze()
        return super().run(iterator, play_context)
