#!/usr/bin/env python3
"""Whether site.yml renews every certificate at day 61 of 90 with no failed request and no restart, and changes nothing when it runs again."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from report import Series, lab, on, write
from security.requests import Requests, changes, site
from security.vault import aged, certificates

PKI = "/etc/obcms/pki"
DAYS_LEFT, RENEWED = 29.0, 89.0
ENDS = f'cd {PKI} && for f in *.crt; do [ $f = ca.crt ] || echo $f $(date -d "$(openssl x509 -in $f -noout -enddate | cut -d= -f2)" +%s); done'
UNITS = (
    "etcd patroni redis-server redis-sentinel haproxy pgbouncer obcms obcms-celery nginx keepalived prometheus prometheus-alertmanager "
    "prometheus-node-exporter prometheus-nginx-exporter prometheus-redis-exporter prometheus-postgres-exporter prometheus-pgbouncer-exporter "
    "pgbackrest restic-rest-server"
)
# These two read their certificate when they start, and only then (Redis 8.0's Sentinel has no CONFIG SET for it, rest-server 0.13 no reload).
CANNOT_RELOAD = ("redis-sentinel", "restic-rest-server")
STARTED = f"for u in {UNITS}; do p=$(systemctl show -P MainPID $u); [ $p = 0 ] || echo $u $p; done"


def age(host: str) -> int:
    """Put certificates in place that are as those on the host, but 61 days old; how many."""
    found = certificates(host)
    script = "".join(f"cat > {PKI}/{name} <<'EOF'\n{aged(text, DAYS_LEFT)}EOF\n" for name, text in found.items())
    on(host, script)
    return len(found)


def ends(host: str) -> dict[str, float]:
    """Days that are left of each certificate."""
    return {line.split()[0]: (int(line.split()[1]) - time.time()) / 86400 for line in on(host, ENDS).splitlines()}


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    hosts = [host["name"] for host in lab.wanted_hosts()]
    failed, old = (
        Series("failed requests while certificates are renewed", 0, "requests"),
        Series("certificates that were not renewed", 0, "certificates"),
    )
    restarted = Series("services that can reload, and were restarted all the same", 0, "services")
    again = Series("changes of the run after it", 0, "changes")
    with ThreadPoolExecutor(4) as pool:
        count = sum(pool.map(age, hosts))
        before = dict(zip(hosts, pool.map(lambda host: on(host, STARTED), hosts), strict=True))
        with Requests() as client:
            time.sleep(5)
            text = site("renewal")
            time.sleep(5)
        after = dict(zip(hosts, pool.map(lambda host: on(host, STARTED), hosts), strict=True))
        left = dict(zip(hosts, pool.map(ends, hosts), strict=True))
    failed.values, failed.failures = [float(len(client.failures))], client.failures[:10]
    old.failures = [f"{host} {name}: {days:.0f} days left" for host, each in left.items() for name, days in each.items() if days < RENEWED]
    old.values = [float(len(old.failures))]
    anew = [(host, line.split()[0]) for host in hosts for line in before[host].splitlines() if line not in after[host].splitlines()]
    restarted.failures = [f"{host}: {unit}" for host, unit in anew if unit not in CANNOT_RELOAD]
    restarted.values = [float(len(restarted.failures))]
    second = changes(site("renewal-again"))
    again.values, again.failures = [float(sum(second.values()))], [f"{host}: {number}" for host, number in second.items()]
    notes = [
        f"{count} certificates on {len(hosts)} hosts were put back to day 61 (29 days left): the same names and keys, "
        "signed by the same authorities.",
        f"{client.sent} requests through both balancers meanwhile, each on a connection of its own; the slowest took {client.slowest:.1f} s. "
        f"The run changed {sum(changes(text).values())} things.",
        "Restarted, since they cannot reload: " + ", ".join(f"{unit} on {host}" for host, unit in anew if unit in CANNOT_RELOAD) + ".",
    ]
    return write("renewal", __doc__ or "", [failed, old, restarted, again], notes)


if __name__ == "__main__":
    sys.exit(main())
