"""Filter ssh_command: how a program on the controller reaches a host as Ansible does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: ssh_command
short_description: Command line that runs something on a host, from its connection variables
description:
  - For the few steps that a program of the controller must drive in milliseconds, which a task for each step cannot.
  - Root is reached by C(sudo -n), so the connecting user needs sudo without a password, or to be root.
positional: _input, command
options:
  _input: {description: Variables of the host., type: dict, required: true}
  command: {description: Words to run on it., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ hostvars['db1'] | ssh_command(['cat', '/proc/uptime']) }}"
"""

RETURN = r"""
_value:
  description: Words of the command.
  type: list
"""

# Nobody is there to answer a question, and a host that is gone must be noticed soon.
OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3")


def ssh_command(variables: Mapping[str, Any], command: list[str]) -> list[str]:
    """See DOCUMENTATION."""

    def value(*names: str) -> str:
        """The first of the names that is set: Ansible knows some settings under two."""
        return next((str(variables[name]) for name in names if name in variables and variables[name]), "")

    user = value("ansible_ssh_user", "ansible_user")
    words = ([] if user == "root" else ["sudo", "-n"]) + [str(word) for word in command]
    if value("ansible_connection") == "local":
        return words
    options = [*OPTIONS, *shlex.split(value("ansible_ssh_common_args")), *shlex.split(value("ansible_ssh_extra_args"))]
    key, port = value("ansible_ssh_private_key_file", "ansible_private_key_file"), value("ansible_ssh_port", "ansible_port")
    for flag, said in (("-i", key), ("-p", port), ("-l", user)):
        options += [flag, said] if said else []
    return ["ssh", *options, value("ansible_ssh_host", "ansible_host", "inventory_hostname"), shlex.join(words)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"ssh_command": ssh_command}
