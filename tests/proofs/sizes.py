#!/usr/bin/env python3
"""Whether the services on the lab's hosts really run with the sizes that the filters computed, asked of the running services."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import yaml

from report import PROJECT, Series, lab, on, write

sys.path.insert(0, str(PROJECT / "scripts"))
import render

UNITS = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2, "mb": 1024**2, "16MB": 16 * 1024**2, "GB": 1024**3, "gb": 1024**3}
Answers = dict[str, Any]


def in_bytes(text: str) -> int | str:
    """`512MB` as bytes, everything else as it is."""
    found = re.fullmatch(r"(\d+)(B|kB|MB|mb|GB|gb)", text)
    return int(found[1]) * UNITS[found[2]] if found else text


def postgres(host: str, wanted: Answers) -> Answers:
    names = ", ".join(f"'{name}'" for name in wanted)
    query = f"SELECT name, setting, unit FROM pg_settings WHERE name IN ({names})"
    answers: Answers = {}
    for line in on(host, f'sudo -u postgres psql -AtF "|" -c "{query}"').splitlines():
        name, setting, unit = line.split("|")
        answers[name] = int(setting) * UNITS[unit] if unit in UNITS else setting
    return answers


def pgbouncer(host: str, _wanted: Answers) -> Answers:
    ask = "sudo -u postgres psql -AtF '|' -h /run/postgresql -p 6432 -U pgbouncer pgbouncer -c"
    answers: Answers = dict(line.split("|")[:2] for line in on(host, f"{ask} 'SHOW CONFIG'").splitlines())
    header, *rows = on(host, f"{ask.replace('-AtF', '-AF')} 'SHOW DATABASES'").splitlines()
    for row in rows:
        database = dict(zip(header.split("|"), row.split("|"), strict=False))
        if database.get("name", "").endswith("_ro"):
            answers |= {"replica_pool_size": database["pool_size"], "replica_max_db_connections": database["max_connections"]}
    return answers


def redis(host: str, wanted: Answers) -> Answers:
    answers: Answers = {}
    for name in wanted:
        lines = on(host, f"redis-obcms config get {name}").splitlines()
        if len(lines) == 2:
            answers[name] = lines[1]
    return answers


def app(host: str, _wanted: Answers) -> Answers:
    main = on(host, "systemctl show -P MainPID obcms.service")
    # gunicorn itself prints what it would run with, from the same file and as the same user as the service.
    shown = on(
        host,
        "cd /opt/obcms/current && set -a && . /etc/obcms/obcms.env && set +a && export PROMETHEUS_MULTIPROC_DIR=/run/obcms/metrics && "
        "setpriv --reuid obcms --regid obcms --clear-groups "
        "/opt/obcms/current/venv/bin/python -m gunicorn --config /etc/obcms/gunicorn.conf.py --print-config obcms.wsgi:application",
    )
    answers: Answers = dict(re.findall(r"^(\w+)\s+= (.*)$", shown, re.MULTILINE))
    answers["workers"] = on(host, f"pgrep -c -P {main}")
    return answers


def celery(host: str, _wanted: Answers) -> Answers:
    stats = json.loads(on(host, f"obcms-celery inspect stats --json --destination celery@{host}"))[f"celery@{host}"]
    pool = stats["pool"]
    return {
        "concurrency": pool["max-concurrency"],
        "max_tasks_per_child": pool["max-tasks-per-child"],
        "soft_time_limit": pool["timeouts"][0],
        "time_limit": pool["timeouts"][1],
        "prefetch_multiplier": stats["prefetch_count"] / pool["max-concurrency"],
    }


def nginx(host: str, _wanted: Answers) -> Answers:
    answers: Answers = dict(re.findall(r"^\s*(worker_\w+|keepalive_\w+)\s+([^;]+);", on(host, "nginx -T 2>/dev/null"), re.MULTILINE))
    answers["worker_processes"] = on(host, "pgrep -c -P $(systemctl show -P MainPID nginx.service)")
    return answers


ASK: dict[str, Callable[[str, Answers], Answers]] = {
    "postgres": postgres,
    "pgbouncer": pgbouncer,
    "redis": redis,
    "app": app,
    "celery": celery,
    "lb": nginx,
}
# No setting of a running service: inputs of other sizes, or read only at an event.
NOT_ASKED = {
    "postgres": {"memory_mb"},
    "pgbouncer": {"users"},
    "celery": {"soft_shutdown_timeout"},
}


def same(wanted: Any, answer: Any) -> bool:
    """Equal as bytes, numbers or words."""
    left, right = in_bytes(str(wanted)), in_bytes(str(answer))
    try:
        return float(left) == float(right)
    except ValueError:
        return str(left) == str(right)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    folder = PROJECT / ".cache" / "sizes"
    render.render(PROJECT / "inventories" / "lab", folder, render.masked_secrets())
    differing = Series("values that differ", 0, "values")
    counts: dict[str, int] = {}
    missing: set[str] = set()
    for host in [h["name"] for h in lab.wanted_hosts()]:
        sizes = yaml.safe_load((folder / host / "sizes.yml").read_text())
        for service, ask in ASK.items():
            wanted = {name: value for name, value in sizes.get(service, {}).items() if name not in NOT_ASKED.get(service, set())}
            answers = ask(host, wanted) if wanted else {}
            for name, value in wanted.items():
                if name not in answers:
                    missing.add(f"{service}: {name} was not answered")
                elif same(value, answers[name]):
                    counts[service] = counts.get(service, 0) + 1
                else:
                    differing.failures.append(f"{host}: {service}: {name} is {answers[name]}, computed {value}")
    differing.failures += sorted(missing)
    differing.values.append(float(len(differing.failures)))
    notes = [f"{service}: {count} values equal" for service, count in sorted(counts.items())]
    notes += [f"Not asked: {service}: {', '.join(sorted(names))}." for service, names in NOT_ASKED.items()]
    return write("sizes", __doc__ or "", [differing], notes)


if __name__ == "__main__":
    sys.exit(main())
