"""Filter changed_handlers: which handlers to notify after a loop over files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: changed_handlers
short_description: Handlers of those items of a loop that changed
description:
  - Once an item of a loop has changed, Ansible notifies the handlers of all its items. A change that needs a reload would restart the service.
  - So the loop over the files notifies nobody; a second task loops over what this filter gives, and notifies that.
  - An item names its handler as C(notify), a name or a list of names; one without is passed over.
positional: _input
options:
  _input:
    description: What the looped task registered. A task that was skipped has changed nothing.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Notify for what has changed
  ansible.builtin.debug:
    msg: "{{ item }}"
  loop: "{{ __haproxy_rendered | changed_handlers }}"
  changed_when: true
  notify: "{{ item }}"
"""

RETURN = r"""
_value:
  description: Names of handlers, each once, in the order of the items.
  type: list
  elements: str
"""


def changed_handlers(registered: Any) -> list[str]:
    """Names of handlers; AnsibleFilterError when it was not registered by a task."""
    if not isinstance(registered, Mapping) or "changed" not in registered:
        raise AnsibleFilterError("changed_handlers: this is not what a task registered; give it the variable of the looped task's `register`")
    found: dict[str, None] = {}
    for result in registered.get("results", ()):
        if result.get("changed"):
            names = result["item"].get("notify", ())
            found |= dict.fromkeys([names] if isinstance(names, str) else names)
    return list(found)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"changed_handlers": changed_handlers}
