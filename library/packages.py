#!/usr/bin/python
"""Documentation of the action `packages`; the work is done in action_plugins/packages.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: packages
short_description: Installs Debian packages that are missing
description:
  - Asks C(dpkg-query) first and runs M(ansible.builtin.apt) only where a package is missing. C(apt) loads the index of all of Debian, which
    costs 0.9 CPU-seconds for each task and host even when there is nothing to do; C(dpkg-query) reads one small file.
  - Recommended packages are left out. Package lists older than a day are fetched anew before
    something is installed, and once more when the installation fails.
options:
  name:
    description: Packages that must be there.
    type: list
    elements: str
    required: true
  policy_rc_d:
    description: As in M(ansible.builtin.apt); C(101) keeps a new service from starting at once.
    type: int
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Install Redis
  packages:
    name: [redis-server, redis-tools]
    policy_rc_d: 101
"""

RETURN = r"""
missing:
  description: Packages that were not there before.
  returned: always
  type: list
"""


def main() -> None:
    """Entry point of the Ansible module, which only ansible-doc and linters read."""
    from ansible.module_utils.basic import AnsibleModule

    AnsibleModule(argument_spec={"name": {"type": "list", "elements": "str", "required": True}, "policy_rc_d": {"type": "int"}}).fail_json(
        msg="packages: action_plugins/packages.py was not found; run from the project's directory, whose ansible.cfg names it"
    )


if __name__ == "__main__":
    main()
