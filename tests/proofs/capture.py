#!/usr/bin/env python3
"""Whether the lab's network carries any clear-text protocol or any generated secret during logins, queries, replication, failover and scraping."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from failover import DATABASE_HOSTS, healthy, leader
from report import PROJECT, Series, docker, lab, on, write
from security.pcap import read
from security.vault import patterns

# Sent in clear on purpose, so that the proof shows that it would have seen it.
DECOY = b"a-value-that-was-never-a-secret-0123456789"


def bridge() -> str:
    """The machine's device of the lab's network."""
    return "br-" + docker("network", "inspect", "--format", "{{.Id}}", lab.project_name())[:12]


def act() -> list[str]:
    """What is captured; names of what was done."""
    done = ["scrapes and replication, which never stop"]
    web = next(host["address"] for host in lab.wanted_hosts() if host["name"] == "web1")
    on("lb1", f"exec 3<>/dev/tcp/{web}/8000; printf 'password: {DECOY.decode()}' >&3; sleep 1", check=False)
    for number in range(2):
        subprocess.run(["ansible-playbook", "-i", "inventories/lab", "playbooks/verify.yml"], cwd=PROJECT, check=True, capture_output=True)
        if number == 0:
            old = leader()
            candidate = next(host for host in DATABASE_HOSTS if host != old)
            on(old, f"obcms-patronictl switchover --leader {old} --candidate {candidate} --force", timeout=180)
            healthy()
            on("redis1", "redis-obcms -p 26379 sentinel failover bmms-master", check=False)
            time.sleep(20)
    done += ["verify.yml twice: logins through the balancer, queries through the poolers, cache, queue", "a switchover of PostgreSQL and of Redis"]
    on("worker1", "obcms-celery call celery.accumulate --args '[40, 2]'", check=False)
    on("web1", "systemctl start obcms-file-backup.service", check=False, timeout=300)
    on(leader(), "sudo -u postgres psql -Atc 'select pg_switch_wal()'")
    time.sleep(20)
    return [*done, "a backup of files, WAL to the repository"]


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not shutil.which("tcpdump"):
        raise SystemExit("capture: tcpdump is missing on this machine; apt-get install tcpdump")
    clear, leaks = Series("connections in clear text", 0, "found"), Series("generated secrets on the wire", 0, "found")
    seen = Series("decoys that were not seen", 0, "missed")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "lab.pcap"
        tcpdump = subprocess.Popen(
            ["tcpdump", "-i", bridge(), "-s", "0", "-B", "65536", "-U", "-w", str(path), "-Z", "root", "ip"], stderr=subprocess.PIPE
        )
        time.sleep(2)
        try:
            done = act()
        finally:
            tcpdump.terminate()
            said = tcpdump.communicate()[1].decode()
        connections, others = read(path)
        data = path.read_bytes()
    kinds = Counter(connection.kind() for connection in connections)
    bad = [c for c in connections if c.kind() == "clear text"]
    decoys = [c for c in bad if any(DECOY in part for part in c.said[True])]
    for connection in bad:
        if connection not in decoys:
            words = (connection.said[True] or connection.said[False])[0][:40]
            clear.failures.append(f"{connection.client[0]} -> {connection.server[0]}:{connection.server[1]} {words!r}")
    # http is a redirect to https, and never more.
    for c in connections:
        if c.kind() == "http" and not all(part.startswith((b"HTTP/1.1 308", b"HTTP/1.1 421")) for part in c.said[False][:1]):
            clear.failures.append(f"{c.client[0]} -> {c.server[0]}:80 answers more than a redirect")
    clear.values.append(float(len(clear.failures)))
    leaks.failures = [name for name, values in patterns().items() if any(value in data for value in values)]
    leaks.values.append(float(len(leaks.failures)))
    seen.values.append(float(DECOY not in data) + float(not decoys))
    dropped = re.search(r"(\d+) packets? dropped by kernel", said)
    spoken = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    notes = [
        f"Captured: {'; '.join(done)}.",
        f"{len(data) / 2**20:.0f} MB, {len(connections)} connections: {spoken}. "
        f"Packets dropped by the kernel: {dropped.group(1) if dropped else 'unknown'}.",
        f"Other protocols, by number and port: {', '.join(f'{name} ({count})' for name, count in sorted(others.items())) or 'none'}.",
        "The proof itself sends one value in clear, which both searches must find.",
    ]
    return write("capture", __doc__ or "", [clear, leaks, seen], notes)


if __name__ == "__main__":
    sys.exit(main())
