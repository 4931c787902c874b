#!/usr/bin/env python3
"""How long writes and /ready/ wait when the database leader or the Redis master is lost, and whether a row is lost."""

from __future__ import annotations

import argparse
import json
import sys
import time

from report import Series, container, docker, on, write

APP_HOSTS = ("web1", "web2", "web3", "web4")
DATABASE_HOSTS = ("db1", "db2", "db3")
CACHE_HOSTS = ("redis1", "redis2", "redis3")
TABLE = "proof_writes"
# Writes one row after the other through the host's pooler and notes when each was acknowledged.
WRITER = """
import json, os, sys, time
import psycopg
url, table, seconds, out = os.environ["DATABASE_URL"], sys.argv[1], float(sys.argv[2]), sys.argv[3]
end, number, acked, errors, connection = time.time() + seconds, 0, [], 0, None
while time.time() < end:
    number += 1
    try:
        if connection is None:
            connection = psycopg.connect(url, connect_timeout=3, autocommit=True, prepare_threshold=None)
        connection.execute(f"INSERT INTO {table} (n) VALUES (%s)", (number,))
        acked.append((number, time.time()))
        time.sleep(0.02)
    except psycopg.Error:
        errors += 1
        try:
            connection and connection.close()
        finally:
            connection = None
        time.sleep(0.1)
json.dump({"acked": acked, "errors": errors}, open(out, "w"))
"""
READY = (
    "curl -sk -o /dev/null -w '%{http_code}' --max-time 3 --cert /etc/obcms/pki/app.crt --key /etc/obcms/pki/app.key "
    "--resolve app.obcms.internal:8000:$(hostname -i | cut -d' ' -f1) https://app.obcms.internal:8000/ready/"
)

LEADS = (
    "curl -sk --cert /etc/obcms/pki/postgres-patroni.crt --key /etc/obcms/pki/postgres-patroni.key -o /dev/null -w '%{http_code}' --max-time 2 "
    "https://$(hostname -i | cut -d' ' -f1):8008/primary"
)
# Celery's own task: the answer went through the broker, a worker and the store of results.
TASK = """id=$(obcms-celery call celery.accumulate --args '[40, 2]' | tail -n 1); timeout 60 obcms-celery result "$id" | tail -n 1"""


def leader() -> str:
    """Name of the PostgreSQL leader; RuntimeError when no host says it leads."""
    for _ in range(60):
        for host in DATABASE_HOSTS:
            if on(host, LEADS, check=False) == "200":
                return host
        time.sleep(1)
    raise RuntimeError("no database host leads")


def healthy() -> None:
    """Wait until the cluster has its leader and two replicas streaming, one of them synchronous."""
    for _ in range(120):
        streaming = on(leader(), "sudo -u postgres psql -Atc \"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'\"", check=False)
        if streaming == "2":
            time.sleep(8)  # two rounds of Patroni's loop, so that the synchronous standby is on record
            return
        time.sleep(1)
    raise RuntimeError("the database cluster did not become healthy within 120 s")


def sql(statement: str) -> str:
    """Result of a statement on the leader, as its superuser."""
    return on(leader(), f'sudo -u postgres psql -v ON_ERROR_STOP=1 -At -d obcms <<"EOF"\n{statement}\nEOF')


def lose_leader(kind: str, series: Series, seconds: int) -> None:
    """One failover while web1 writes: the longest gap between acknowledged rows, and rows that are gone."""
    healthy()
    sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n integer PRIMARY KEY); GRANT INSERT ON {TABLE} TO obcms_app;")
    on("web1", f"cat > /tmp/writer.py <<'EOF'\n{WRITER}\nEOF\nchmod 644 /tmp/writer.py; rm -f /tmp/writer.json")
    on(
        "web1",
        "set -a; . /etc/obcms/obcms.env; set +a; cd /tmp; "
        f"nohup /opt/obcms/current/venv/bin/python /tmp/writer.py {TABLE} {seconds} /tmp/writer.json >/tmp/writer.log 2>&1 </dev/null &",
    )
    time.sleep(5)
    host = leader()
    if kind == "postmaster":
        on(host, "kill -9 $(head -1 /var/lib/postgresql/17/obcms/postmaster.pid)")
    else:
        docker("kill", container(host))
    time.sleep(seconds)
    report = json.loads(on("web1", "cat /tmp/writer.json; rm -f /tmp/writer.*"))
    if kind != "postmaster":
        docker("start", container(host))
    times = [when for _, when in report["acked"]]
    series.values.append(max(later - earlier for earlier, later in zip(times, times[1:], strict=False)))
    kept = set(sql(f"SELECT n FROM {TABLE}").split())
    lost = [number for number, _ in report["acked"] if str(number) not in kept]
    if lost:
        series.failures.append(f"{len(lost)} of {len(report['acked'])} acknowledged rows lost, the first is {lost[0]}")
    print(
        f"{series.title}: {series.values[-1]:.1f} s, {len(times)} rows acknowledged, {len(lost)} lost, {report['errors']} errors",
        flush=True,
    )
    healthy()
    sql(f"DROP TABLE {TABLE}")


def cache_master() -> str:
    """Name of the Redis master as the Sentinels of a running host say."""
    for host in CACHE_HOSTS:
        config = on(host, "redis-obcms role || true", check=False).splitlines()
        if config and config[0] == "master":
            return host
    raise RuntimeError("no Redis host is master")


def ready_hosts() -> set[str]:
    """Application hosts whose /ready/ is 200 now."""
    return {host for host in APP_HOSTS if on(host, READY, check=False) == "200"}


def lose_cache(series: Series, tasks: Series) -> None:
    """Stop the Redis master's host: seconds until every /ready/ is 200 again, and until Celery has run a task."""
    host = cache_master()
    start = time.monotonic()
    docker("kill", container(host))
    time.sleep(2)
    while ready_hosts() != set(APP_HOSTS):
        if time.monotonic() - start > 120:
            series.failures.append("not ready within 120 s")
            break
    series.values.append(time.monotonic() - start)
    answer = on("web1", TASK, check=False, timeout=90)
    tasks.values.append(time.monotonic() - start)
    if not answer.endswith("[40, 2]"):
        tasks.failures.append(f"a task after the failover answered {answer[-200:]!r}")
    docker("start", container(host))
    print(f"{series.title}: {series.values[-1]:.1f} s; task run after {tasks.values[-1]:.1f} s", flush=True)
    time.sleep(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each fault is made (default: 3)")
    parser.add_argument("--only", choices=["postmaster", "host", "cache"], help="one kind of fault")
    options = parser.parse_args()
    postmaster = Series("writes again after kill -9 of the leader's postmaster", 8)
    host = Series("writes again after the leader's host is lost", 27)
    ready = Series("every /ready/ 200 after the Redis master's host is lost", 15)
    tasks = Series("a Celery task has run after the Redis master's host is lost", 60)
    chosen = {"postmaster": [postmaster], "host": [host], "cache": [ready, tasks], None: [postmaster, host, ready, tasks]}[options.only]
    for _ in range(options.times):
        if postmaster in chosen:
            lose_leader("postmaster", postmaster, 30)
        if host in chosen:
            lose_leader("host", host, 50)
        if ready in chosen:
            lose_cache(ready, tasks)
    notes = ["Rows are written one after the other through web1's PgBouncer; the figure is the longest gap between two acknowledged rows."]
    return write(f"failover_{options.only}" if options.only else "failover", __doc__ or "", chosen, notes)


if __name__ == "__main__":
    sys.exit(main())
