"""Fact cache with a folder per inventory: web1 of the lab and web1 of production are different hosts."""

from __future__ import annotations

import re
from pathlib import Path

from ansible import constants as C
from ansible import context
from ansible.plugins.cache.jsonfile import CacheModule as JsonFiles

DOCUMENTATION = """
name: facts_per_inventory
short_description: JSON files in a folder per inventory
description:
  - As C(ansible.builtin.jsonfile), which goes by host name only, so that two inventories with the same host names would share facts and a run with
    C(--limit) would size one environment by the other's hosts.
author: the OBCMS platform team
options:
  _uri:
    required: true
    description: Folder that holds one folder per inventory.
    env: [{name: ANSIBLE_CACHE_PLUGIN_CONNECTION}]
    ini: [{key: fact_caching_connection, section: defaults}]
    type: path
  _prefix:
    description: Beginning of the file names.
    env: [{name: ANSIBLE_CACHE_PLUGIN_PREFIX}]
    ini: [{key: fact_caching_prefix, section: defaults}]
  _timeout:
    default: 86400
    description: Seconds that facts are kept; 0 is for ever.
    env: [{name: ANSIBLE_CACHE_PLUGIN_TIMEOUT}]
    ini: [{key: fact_caching_timeout, section: defaults}]
    type: integer
"""


def folder_name(sources: list[str]) -> str:
    """inventories/prod and inventories/prod/hosts.yml -> prod; anything else by its whole path."""
    names = []
    for source in sources:
        path = Path(source).resolve()
        folder = path.parent if path.is_file() else path
        names.append(folder.name if folder.parent.name == "inventories" else re.sub(r"[^A-Za-z0-9.]+", "-", str(folder)).strip("-"))
    return "+".join(sorted(names)) or "none"


class CacheModule(JsonFiles):
    """JSON files in a folder per inventory."""

    def validate_cache_connection(self) -> None:
        sources = context.CLIARGS.get("inventory") or C.DEFAULT_HOST_LIST
        sources = [sources] if isinstance(sources, str) else list(sources)
        if self._cache_dir:
            self._cache_dir = str(Path(self._cache_dir) / folder_name([str(source) for source in sources]))
        super().validate_cache_connection()
