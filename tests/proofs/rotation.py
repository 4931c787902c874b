#!/usr/bin/env python3
"""Whether the application's passwords at database and cache are changed by bin/secrets and one run of site.yml with no failed request."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from failover import TASK, leader
from report import PROJECT, Series, on, write
from security.requests import Requests, changes, site
from security.vault import lab_secrets

USED = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'obcms' AND usename LIKE 'obcms_app%'"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2, help="changes; an even number ends with the account it began with (default: 2)")
    options = parser.parse_args()
    failed, kept = (
        Series("failed requests while the passwords change", 0, "requests"),
        Series("passwords that are still the old ones", 0, "passwords"),
    )
    answered, notes = Series("tasks that were not answered", 0, "tasks"), []
    for number in range(options.times):
        before = lab_secrets()
        with Requests() as client:
            time.sleep(5)
            subprocess.run(["bin/secrets", "inventories/lab", "--rotate", "app"], cwd=PROJECT, check=True, capture_output=True)
            text = site(f"rotation-{number}")
            time.sleep(5)
        after = lab_secrets()
        account = after["app_credentials"]
        names = ("postgres_app_password", "redis_app_password") if account == "a" else ("postgres_app_b_password", "redis_app_b_password")
        wanted = "obcms_app" if account == "a" else "obcms_app_b"
        environment = on("web1", "cat /etc/obcms/obcms.env")
        failed.values.append(float(len(client.failures)))
        failed.failures += client.failures[:10]
        wrong = [name for name in names if before[name] == after[name] or after[name] not in environment]
        if wanted not in on(leader(), f'sudo -u postgres psql -Atc "{USED}"').split():
            wrong.append(f"{wanted} has no session at the leader")
        kept.values.append(float(len(wrong)))
        kept.failures += wrong
        task = on("worker1", TASK, check=False)
        answered.values.append(float(task != "[40, 2]"))
        notes.append(
            f"To account {account}: {client.sent} requests through both balancers, the slowest took {client.slowest:.1f} s; "
            f"the run changed {sum(changes(text).values())} things on {len(changes(text))} hosts."
        )
    return write("rotation", __doc__ or "", [failed, kept, answered], notes)


if __name__ == "__main__":
    sys.exit(main())
