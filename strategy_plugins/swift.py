"""Strategy `swift`: Mitogen's linear strategy where Mitogen is installed, Ansible's own linear strategy where it is not.

Both run the same tasks in the same order; Mitogen needs about a seventh of the CPU time.
OBCMS_STRATEGY=linear chooses the stock strategy although Mitogen is there.
"""

from __future__ import annotations

import os

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

    class StrategyModule(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear, over Mitogen."""
else:
    from ansible.plugins.strategy.linear import StrategyModule  # noqa: F401
