"""Reads an inventory with Ansible's own parser, variables and vault included, without reaching any host."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Inventory:
    """Groups, and hostvars as playbooks see them."""

    groups: dict[str, list[str]]
    hostvars: Any
    # Ansible's own objects, for who renders templates.
    manager: Any = None
    variables: Any = None
    loader: Any = None

    def get(self, host: str, name: str) -> Any:
        """One variable, None where it is undefined or cannot be templated."""
        try:
            value = self.hostvars[host][name]
        except Exception:  # Ansible has many kinds of errors for what is undefined; here they all mean "not there"
            return None
        return None if "Undefined" in type(value).__name__ or type(value).__name__.endswith("Marker") else value

    def capacities(self) -> dict[str, Any]:
        """Capacity of every host that has one: from the fact cache, or declared."""
        found = {}
        for host in self.groups.get("all", []):
            capacity = self.get(host, "host_capacity")
            if isinstance(capacity, Mapping):
                found[host] = {name: int(capacity[name]) for name in ("vcpus", "memory_mb", "disk_gb") if name in capacity}
        return {host: capacity for host, capacity in found.items() if len(capacity) == 3}


@functools.cache
def _load_plugins() -> None:
    """Ansible allows it once per process."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([])


@functools.cache
def _vault_secrets(project: Path) -> Any:
    """Vault passwords from where playbooks get them. Ansible asks once per process; its configuration names the client relative to the project."""
    from ansible import constants as C
    from ansible.cli import CLI
    from ansible.parsing.dataloader import DataLoader

    identities = [re.sub(r"@(?!/)", f"@{project}/", identity, count=1) for identity in C.DEFAULT_VAULT_IDENTITY_LIST]
    return CLI.setup_vault_secrets(DataLoader(), vault_ids=identities, auto_prompt=False)


def read_inventory(path: Path, project: Path, extra_vars: Mapping[str, Any] | None = None) -> Inventory:
    """Inventory of a folder or file, with the project's group_vars; extra_vars win over all other variables, as -e does."""
    # The project's settings count wherever the script is called from; Ansible reads them when it is first imported.
    os.environ.setdefault("ANSIBLE_CONFIG", str(project / "ansible.cfg"))
    from ansible import context
    from ansible.inventory.manager import InventoryManager
    from ansible.module_utils.common.collections import ImmutableDict
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    _load_plugins()
    loader = DataLoader()
    # group_vars beside the playbooks are found from here, as they are for a playbook.
    loader.set_basedir(str(project / "playbooks"))
    loader.set_vault_secrets(_vault_secrets(project))
    # The fact cache has a folder per inventory and asks here which one it is.
    context.CLIARGS = ImmutableDict({**context.CLIARGS, "inventory": (str(path),)})
    manager = InventoryManager(loader=loader, sources=[str(path)])
    variables = VariableManager(loader=loader, inventory=manager)
    variables._extra_vars = dict(extra_vars or {})
    hostvars = HostVars(inventory=manager, variable_manager=variables, loader=loader)
    variables._hostvars = hostvars
    groups = {name: [str(host) for host in hosts] for name, hosts in manager.get_groups_dict().items()}
    return Inventory(groups, hostvars, manager, variables, loader)
