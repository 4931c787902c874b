#!/usr/bin/env python3
"""Whether 1,000 clients of the lab's poolers are all served while PostgreSQL's backends stay within the budget."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path

import yaml

from failover import leader
from report import PROJECT, Series, on, write

sys.path.insert(0, str(PROJECT / "scripts"))
import render

POOLERS = ("web1", "web2", "web3", "web4", "worker1", "worker2")
# Opens all connections first, then lets every one of them ask five times at the same moment.
CLIENTS = """
import asyncio, json, os, sys, time
import psycopg
url, count = os.environ["DATABASE_URL"], int(sys.argv[1])
async def main():
    options = {"autocommit": True, "prepare_threshold": None, "connect_timeout": 60}
    opened = await asyncio.gather(*(psycopg.AsyncConnection.connect(url, **options) for _ in range(count)))
    await asyncio.sleep(max(0.0, float(sys.argv[2]) - time.time()))
    async def ask(connection):
        waits = []
        for _ in range(5):
            start = time.monotonic()
            answer = await (await connection.execute("SELECT 42, pg_sleep(0.02)")).fetchone()
            assert answer[0] == 42
            waits.append(time.monotonic() - start)
        return waits
    answers = await asyncio.gather(*map(ask, opened), return_exceptions=True)
    for connection in opened:
        await connection.close()
    waits = [wait for answer in answers if isinstance(answer, list) for wait in answer]
    print(json.dumps({"opened": len(opened), "waits": waits, "errors": [str(a) for a in answers if not isinstance(a, list)]}))
asyncio.run(main())
"""
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'obcms'"


def clients(host: str, count: int, begin: float, answers: dict[str, dict[str, object]]) -> None:
    """Run the clients of one host and keep what they found."""
    try:
        text = on(
            host,
            f"cat > /tmp/clients.py <<'EOF'\n{CLIENTS}\nEOF\nset -a; . /etc/obcms/obcms.env; set +a; cd /tmp; ulimit -n 4096; "
            f"/opt/obcms/current/venv/bin/python /tmp/clients.py {count} {begin}; rm -f /tmp/clients.py",
            timeout=180,
        )
        answers[host] = json.loads(text.splitlines()[-1])
    except Exception as error:  # whatever it is, it is a failure of this host's clients and shown as such
        answers[host] = {"opened": 0, "waits": [], "errors": [str(error)]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000, help="connections over all poolers (default: 1000)")
    options = parser.parse_args()
    folder = PROJECT / ".cache" / "pooling"
    render.render(PROJECT / "inventories" / "lab", folder, render.masked_secrets())
    limits = [yaml.safe_load(Path(folder / host / "sizes.yml").read_text())["pgbouncer"]["max_db_connections"] for host in POOLERS]
    shares = [options.clients // len(POOLERS) + (number < options.clients % len(POOLERS)) for number in range(len(POOLERS))]

    unserved = Series("clients that were not served", 0, "clients")
    waits = Series("an answer (a query of 20 ms among all the others)", 60)
    backends = Series("backends of the application's database on the leader", float(sum(limits)), "backends")
    answers: dict[str, dict[str, object]] = {}
    begin, host_of_leader = time.time() + 20, leader()
    threads = [threading.Thread(target=clients, args=(host, share, begin, answers)) for host, share in zip(POOLERS, shares, strict=True)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        backends.values.append(float(on(host_of_leader, f'sudo -u postgres psql -Atc "{BACKENDS}"')))
        time.sleep(0.2)
    served = 0
    for host, answer in sorted(answers.items()):
        asked = answer["waits"]
        assert isinstance(asked, list)
        served += len(asked) // 5
        waits.values += asked
        errors = answer["errors"]
        assert isinstance(errors, list)
        unserved.failures += [f"{host}: {error}" for error in errors[:5]]
    unserved.values.append(float(options.clients - served))
    notes = [f"{options.clients} connections over {len(POOLERS)} poolers, all open at once, each asked five times; poolers allow {limits} backends."]
    return write("pooling", __doc__ or "", [unserved, backends, waits], notes)


if __name__ == "__main__":
    sys.exit(main())
