"""What all tests share."""

from __future__ import annotations

import os

# Facts of real hosts that carry the same names must not slip into a test. Ansible reads this when it is first imported.
os.environ["ANSIBLE_CACHE_PLUGIN"] = "memory"
