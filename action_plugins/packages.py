"""Action of the module `packages`: asks dpkg, and runs ansible.builtin.apt only where something is missing."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Debian's package names: manual, section 5.6.1.
LEGAL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")
DAY = 86400
QUERY = "dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n' -- "


def installed(listing: str) -> set[str]:
    """Names of the packages that a listing of `NAME STATUS` lines says are installed."""
    return {line.split()[0] for line in listing.splitlines() if line.split()[1:] == ["installed"]}


class ActionModule(ActionBase):
    """See library/packages.py."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        unknown = set(self._task.args) - {"name", "policy_rc_d"}
        names = self._task.args.get("name")
        names = [names] if isinstance(names, str) else names
        if unknown or not isinstance(names, list) or not names:
            raise AnsibleActionFail(f"packages: name must be a list of packages, and policy_rc_d is the only other option; got {self._task.args}")
        if wrong := [name for name in names if not isinstance(name, str) or not set(name) <= LEGAL]:
            raise AnsibleActionFail(f"packages: {wrong[0]!r} is not the name of a Debian package")
        # dpkg-query fails when a package is unknown, and still lists the others.
        shown = self._low_level_execute_command(QUERY + " ".join(shlex.quote(name) for name in names), sudoable=True)
        missing = [name for name in names if name not in installed(str(shown.get("stdout", "")))]
        if not missing:
            return {"changed": False, "missing": []}
        # needrestart looks through all processes after each installation, and nobody reads what it says: a restart is for playbooks/os_update.yml.
        self._task.environment = [*(self._task.environment or []), {"NEEDRESTART_SUSPEND": "1"}]
        result = self._install(missing, DAY, task_vars)
        # Lists that look fresh may be empty (a new image) or name files that the mirror has replaced. A check run cannot fetch new ones.
        if result.get("failed") and not self._task.check_mode:
            result = self._install(missing, 0, task_vars)
        return result | {"missing": missing}

    def _install(self, names: list[str], lists_seconds: int, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Result of apt, with package lists no older than that many seconds."""
        arguments = {"name": names, "state": "present", "install_recommends": False, "update_cache": True, "cache_valid_time": lists_seconds}
        if "policy_rc_d" in self._task.args:
            arguments["policy_rc_d"] = self._task.args["policy_rc_d"]
        result: dict[str, Any] = self._execute_module(module_name="ansible.builtin.apt", module_args=arguments, task_vars=task_vars)
        return result
