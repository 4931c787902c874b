#!/usr/bin/env python3
"""Prints name, address and authority of an inventory's platform as JSON, for loadtest.py: Ansible does not run inside Locust."""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "shared"))
from inventory_reader import read_inventory  # noqa: E402


def main(argv: list[str]) -> int:
    path = Path(argv[1])
    if not path.exists():
        print(f"loadtest: there is no inventory {path}", file=sys.stderr)
        return 2
    read = read_inventory(path, PROJECT)
    balancers = read.groups.get("lb", [])
    if not balancers:
        print(f"loadtest: {path} has no balancer (group lb); name what to ask with --url", file=sys.stderr)
        return 2
    first = balancers[0]
    private = (read.get(first, "nginx_certificate_source") or "private") == "private"
    found = {
        "url": f"https://{read.get(first, 'platform_domain')}",
        "address": str(read.get(first, "platform_virtual_address") or read.get(first, "host_address")),
        "authority": str(read.get(first, "pki_ca_certificate")) if private else "",
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
