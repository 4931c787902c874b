#!/usr/bin/env python3
"""How long a restore of a 2 GB database takes until the platform is verified, against a plain copy of the same bytes; what a backup costs users."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

from failover import healthy, leader, sql
from point_in_time import go_back, moment
from report import Series, on, write

TABLE = "proof_size"
# Requests of users through the balancer, one loop for each of the clients; how many were answered in so many seconds.
LOAD = """
end=$((SECONDS + {seconds})); rm -f /tmp/proof-load.*
for client in 1 2 3 4; do
  ( n=0; while [ $SECONDS -lt $end ]; do
      code=$(curl -s -o /dev/null -w '%{{http_code}}' --max-time 10 --cacert /etc/obcms/pki/ca.crt --resolve {domain}:443:{address} https://{domain}/ready/)
      [ "$code" = 200 ] && n=$((n + 1))
    done; echo $n > /tmp/proof-load.$client ) &
done; wait; cat /tmp/proof-load.* | awk '{{sum += $1}} END {{print sum}}'
"""
QUOTA = "sed -n 's/^CPUQuota=//p' /etc/systemd/system/obcms-backup.service"
# A full backup as the unit of the nightly one would take it.
BACKUP = f"""
exec systemd-run --quiet --wait --collect --unit=proof-backup -p CPUWeight=20 -p Nice=10 -p CPUQuota="$({QUOTA})" obcms-backup take --type=full
"""
# Rows of 1.9 kB that are neither compressed nor put elsewhere.
TABLE_OF_ROWS = f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n bigint, words text); ALTER TABLE {TABLE} ALTER words SET STORAGE PLAIN"
ROWS = f"INSERT INTO {TABLE} SELECT n, repeat(md5(n::text), 60) FROM generate_series(1, 25000) n"
ROWS_BYTES = 25000 * 2048


def answered(seconds: int) -> float:
    """Requests per second that the platform answers with 200."""
    text = on("mon1", LOAD.format(seconds=seconds, domain="obcms.lab.internal", address="198.18.0.10"), timeout=seconds + 60)
    return int(text) / seconds


def during_a_backup(seconds: int) -> tuple[float, float]:
    """Requests per second while full backups run one after the other, and the share of the time in which one ran.

    The last one is stopped; RuntimeError when one fails before.
    """

    def back_up() -> float:
        end, running = time.monotonic() + seconds, 0.0
        while (begun := time.monotonic()) < end:
            try:
                on("backup1", BACKUP, timeout=900)
            except RuntimeError:
                if time.monotonic() < end:
                    raise
            running += min(time.monotonic(), end) - begun
        return running

    with ThreadPoolExecutor(1) as pool:
        backups = pool.submit(back_up)
        rate = answered(seconds)
        on("backup1", "systemctl stop proof-backup.service", check=False)
        return rate, backups.result() / seconds


def listed(rates: list[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=2.0, help="size of the database (default: 2)")
    parser.add_argument("--seconds", type=int, default=40, help="how long each load lasts (default: 40)")
    parser.add_argument("--turns", type=int, default=5, help="how often the load is measured with a backup (default: 5)")
    options = parser.parse_args()
    healthy()
    sql(TABLE_OF_ROWS)
    for _ in range(int(options.gb * 1e9 / ROWS_BYTES)):
        sql(ROWS)
    size = int(sql("SELECT sum(pg_database_size(oid)) FROM pg_database"))
    copy = Series(f"cp of the same {size / 1e9:.2f} GB on the leader, synced", 3600)
    whole = Series("restore, from the command to the verified platform", 3600)
    cost = Series("throughput lost to a running backup", 10, unit="%")
    place = "/var/lib/postgresql/17"
    started = time.monotonic()
    on(leader(), f"cp -a {place}/obcms {place}/proof-copy; sync", timeout=900)
    copy.values.append(time.monotonic() - started)
    on(leader(), f"rm -rf {place}/proof-copy")
    # In turns, so that neither gets the quieter half of the time.
    answered(options.seconds // 4)
    alone, busy, shares = [answered(options.seconds)], [], []
    for _ in range(options.turns):
        rate, share = during_a_backup(options.seconds)
        busy.append(rate)
        shares.append(share)
        alone.append(answered(options.seconds))
    started = time.monotonic()
    on("backup1", BACKUP, timeout=3600)
    backup_seconds = time.monotonic() - started
    cost.values.append(max(0.0, 100 * (1 - fmean(busy) / fmean(alone))))
    if min(shares) < 0.5:
        cost.failures.append(f"backups ran for {100 * min(shares):.0f} % of the time only")
    at = time.time()
    time.sleep(1)
    sql("CREATE TABLE IF NOT EXISTS proof_after ()")
    whole.values.append(go_back("restore_size", f"target={moment(at)}", whole=True))
    if sql("SELECT to_regclass('proof_after') IS NULL") != "t":
        whole.failures.append("a table from after the moment is there")
    sql(f"DROP TABLE IF EXISTS {TABLE}, proof_after")
    for host in ("db1", "db2", "db3"):
        on(host, f"rm -rf {place}/obcms.before-*")
    notes = [
        f"Ratio of the restore to cp: {whole.values[0] / copy.values[0]:.1f}. It copies everything thrice: from the repository, to two replicas.",
        f"/ready/ through the balancer from four clients, in turns of {options.seconds} s: {listed(alone)} requests per second without a backup, "
        f"{listed(busy)} with full backups, which ran for at least {100 * min(shares):.0f} % of the time.",
        f"A full backup, to the repository and off-site, at rest: {backup_seconds:.0f} s. "
        f"Quota of its CPU on the host of backups: {on('backup1', QUOTA) or 'none'}.",
    ]
    return write("restore_size", __doc__ or "", [copy, whole, cost], notes)


if __name__ == "__main__":
    sys.exit(main())
