"""Inventories of 1 to 60 hosts, written as folders that Ansible reads. The same number gives the same fleet."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 32, 60)
# What a team may set; fleet number n gets every entry that its number picks.
CHOICES: tuple[dict[str, Any], ...] = (
    {"platform_virtual_address": "10.50.0.250"},
    {
        "nginx_certificate_source": "bought",
        "nginx_certificate_chain": "-",
        "nginx_certificate_key": "-",
        "nginx_trusted_proxies": ["192.0.2.0/24"],
        "nginx_hsts_seconds": 0,
    },
    {"alertmanager_webhook_urls": ["https://chat.example.org/hook?a=1&b=2"], "alertmanager_deadman_url": "https://deadman.example.org/x"},
    {"alertmanager_email_to": ["oncall@example.org"], "alertmanager_email_from": "a@example.org", "alertmanager_smtp_server": "mail.example.org:587"},
    {"firewall_operator_networks": ["192.0.2.0/24", "2001:db8::/48"], "firewall_log": False},
    {"firewall_extra_flows": [{"from": "every", "to": "world", "port": "submissions", "why": 'a proxy called "the one"'}]},
    {"postgres_settings": {"work_mem": "8MB"}, "postgres_synchronous_mode": "on"},
    {"redis_settings": {"maxmemory-policy": "noeviction"}, "pgbouncer_settings": {"query_wait_timeout": 30}},
    {"base_users": [{"name": "amina", "sudo": True, "ssh_keys": []}, {"name": "yusuf", "ssh_keys": []}], "base_upgrades_at": "04:30"},
    {"nginx_limit_exempt": ["192.0.2.7", "198.51.100.0/24"], "nginx_max_body": "20m"},
    {"prometheus_thresholds": {"disk_percent": 85}},
    {"platform_containers": True},
)


def members(count: int) -> dict[str, list[str]]:
    """Groups of a fleet of so many hosts; on small ones a host is in several."""
    cluster = 3 if count >= 5 else 1
    wanted = {
        "postgres": cluster,
        "redis": cluster,
        "lb": min(2, count),
        "monitoring": 2 if count > 20 else 1,
        "backup": 1,
        "celery": max(1, count // 8),
    }
    wanted["app"] = max(1, count - sum(wanted.values()))
    names, groups, next_host = [f"host{number}" for number in range(1, count + 1)], {}, 0
    for group, size in wanted.items():
        groups[group] = [names[(next_host + offset) % count] for offset in range(size)]
        next_host += size
    groups["sentinel"] = groups["etcd"] = groups["redis"]
    return groups


def capacity(chance: random.Random, services: int) -> dict[str, int]:
    """Size of a host; the more services, the larger the smallest."""
    memory = [size for size in (2048, 4096, 8192, 16384, 65536, 262144) if size >= 4096 * services - 2048]
    return {"vcpus": chance.choice((1, 2, 4, 8, 32, 128)), "memory_mb": chance.choice(memory), "disk_gb": chance.choice((40, 160, 2000))}


def write(number: int, folder: Path) -> Path:
    """Fleet `number` of SIZES as an inventory in a folder of its own."""
    count, chance = SIZES[number], random.Random(number)
    groups = members(count)
    hosts: dict[str, Any] = {}
    database = capacity(chance, 4)
    for place in range(1, count + 1):
        name = f"host{place}"
        services = sum(name in names for names in groups.values())
        size = database if name in groups["postgres"] and count >= 10 else capacity(chance, services)
        hosts[name] = {"ansible_host": f"10.50.0.{place}", "host_capacity": size}
    chosen: dict[str, Any] = {"platform_domain": f"fleet{number}.example.org", "keepalived_interface": "eth0", "ansible_user": "ops"}
    for place, choice in enumerate(CHOICES):
        if (number + place) % 3 == 0:
            chosen |= choice
    inventory = folder / f"fleet{number:02}-{count}"
    (inventory / "group_vars").mkdir(parents=True)
    tree = {"all": {"hosts": hosts, "children": {group: {"hosts": dict.fromkeys(names, {})} for group, names in groups.items()}}}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(tree))
    (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump(chosen))
    return inventory
