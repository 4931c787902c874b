#!/usr/bin/env python3
"""Whether every connection between two hosts that the table of flows names works, and every other one to a listening port is blocked."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from report import PROJECT, Series, lab, on, write

sys.path.insert(0, str(PROJECT / "filter_plugins"))
sys.path.insert(0, str(PROJECT / "shared"))
from firewall_rules import firewall_rules
from inventory_reader import read_inventory

# Tries all targets at once, each for two seconds at most; prints those that answered.
TRY = """
import asyncio, json, sys
async def reach(host, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
        writer.close()
        return [host, port]
    except OSError:
        return None
async def main():
    answers = await asyncio.gather(*(reach(*target) for target in json.loads(sys.argv[1])))
    print(json.dumps([answer for answer in answers if answer]))
asyncio.run(main())
"""
LISTENS = r"""ss -Htln | awk '{print $4}' | grep -Ev '^(127\.|\[::1\])' | sed 's/.*://' | sort -un"""


def table(name: str, key: str) -> Any:
    return yaml.safe_load((PROJECT / "group_vars" / "all" / f"{name}.yml").read_text())[key]


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    hosts = [dict(host) for host in lab.wanted_hosts()]
    members = read_inventory(PROJECT / "inventories" / "lab", PROJECT).groups
    address = {host["name"]: host["address"] for host in hosts}
    groups = {group: [{"name": name, "address": address[name]} for name in names] for group, names in members.items() if group != "all"}
    for host in hosts:
        host["groups"] = [group for group, names in members.items() if host["name"] in names]
    every = [{"name": host["name"], "address": host["address"]} for host in hosts]
    flows, ports = table("flows", "firewall_flows"), table("ports", "platform_ports")
    operators = yaml.safe_load((PROJECT / "inventories/lab/group_vars/all/main.yml").read_text())["firewall_operator_networks"]
    with ThreadPoolExecutor(4) as pool:
        listening = dict(zip([h["name"] for h in hosts], pool.map(lambda h: on(h["name"], LISTENS).split(), hosts), strict=True))
    blocked = Series("flows of the table that are blocked", 0, "pairs")
    opened = Series("other pairs that are open", 0, "pairs")
    tried = 0
    for source in hosts:
        targets = [(h["address"], int(port)) for h in hosts if h is not source for port in listening[h["name"]]]
        names = {h["address"]: h["name"] for h in hosts}
        tried += len(targets)
        answered = {(address, port) for address, port in json.loads(on(source["name"], f"python3 - '{json.dumps(targets)}' <<'EOF'\n{TRY}\nEOF"))}
        allowed = set()
        for target in hosts:
            rules = firewall_rules(flows, groups, ports, every, operators, target["groups"], target["address"])
            for rule in rules["in"]:
                if rule["protocol"] == "tcp" and (source["address"] in rule["v4"] or "0.0.0.0/0" in rule["v4"]):
                    allowed.add((target["address"], rule["port"]))
        out = firewall_rules(flows, groups, ports, every, operators, source["groups"], source["address"])["out"]
        lets = {(there, rule["port"]) for rule in out if rule["protocol"] == "tcp" for there in rule["v4"]}
        wanted = {t for t in targets if t in allowed and (t in lets or ("0.0.0.0/0", t[1]) in lets)}
        blocked.failures += [f"{source['name']} -> {names[there]}:{port}" for there, port in sorted(wanted - answered)]
        opened.failures += [f"{source['name']} -> {names[there]}:{port}" for there, port in sorted(answered - wanted)]
    blocked.values.append(float(len(blocked.failures)))
    opened.values.append(float(len(opened.failures)))
    strangers = Series("hosts on which something listens that no flow names", 0, "hosts")
    strangers.failures = [f"{h['name']}: {found}" for h in hosts if (found := on(h["name"], "obcms-firewall strangers"))]
    strangers.values.append(float(len(strangers.failures)))
    notes = [f"{tried} connections tried: from each of {len(hosts)} hosts to every listening TCP port of every other."]
    return write("flows", __doc__ or "", [blocked, opened, strangers], notes)


if __name__ == "__main__":
    sys.exit(main())
