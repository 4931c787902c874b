"""Rows that are written one after the other while something happens, each with the moments around it: proofs of backups compare with them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from failover import healthy, sql
from report import on

TABLE = "proof_rows"
# Goes on until it is ended: one line for each row, when it was sent and when it was acknowledged.
WRITER = """
import os, sys, time
import psycopg
url, table, out = os.environ["DATABASE_URL"], sys.argv[1], open(sys.argv[2], "w", buffering=1)
number, connection = 0, None
while number < 60000:
    number += 1
    sent = time.time()
    try:
        if connection is None:
            connection = psycopg.connect(url, connect_timeout=3, autocommit=True, prepare_threshold=None)
        connection.execute(f"INSERT INTO {table} (n) VALUES (%s)", (number,))
        print(number, sent, time.time(), file=out)
        time.sleep(0.02)
    except psycopg.Error:
        # Whether it was written nobody knows: it is no row of either side.
        try:
            connection and connection.close()
        finally:
            connection = None
        time.sleep(0.1)
"""


@dataclass
class Row:
    """One row that was acknowledged."""

    number: int
    sent: float
    acknowledged: float


def begin() -> None:
    """Start writing on web1, through its pooler, into an empty table."""
    healthy()
    sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n integer PRIMARY KEY); GRANT INSERT ON {TABLE} TO obcms_app;")
    on("web1", f"cat > /tmp/rows.py <<'EOF'\n{WRITER}\nEOF\nchmod 644 /tmp/rows.py; rm -f /tmp/rows.out")
    on(
        "web1",
        "set -a; . /etc/obcms/obcms.env; set +a; cd /tmp; "
        f"nohup /opt/obcms/current/venv/bin/python /tmp/rows.py {TABLE} /tmp/rows.out >/tmp/rows.log 2>&1 </dev/null & echo $! > /tmp/rows.pid",
    )


def end() -> list[Row]:
    """Stop writing; every row that was acknowledged."""
    text = on("web1", "kill $(cat /tmp/rows.pid); sleep 0.2; cat /tmp/rows.out; cat /tmp/rows.log >&2; rm -f /tmp/rows.*")
    return [Row(int(number), float(sent), float(acknowledged)) for number, sent, acknowledged in map(str.split, text.splitlines())]


def kept() -> set[int]:
    """Numbers of the rows that are there now."""
    return {int(number) for number in sql(f"SELECT n FROM {TABLE}").split()}


def wrong(rows: list[Row], there: set[int], last: float, first: float | None = None) -> list[str]:
    """What should be there and is not, and the other way round. Rows on their way between `last` and `first` may be either."""
    missing = [row.number for row in rows if row.acknowledged < last and row.number not in there]
    extra = [row.number for row in rows if row.sent > (first or last) and row.number in there]
    found = [f"{len(missing)} rows from before are missing, the first is {missing[0]}"] if missing else []
    return found + ([f"{len(extra)} rows from after are there, the first is {extra[0]}"] if extra else [])


def clean() -> None:
    """Remove the table."""
    for _ in range(5):
        try:
            sql(f"DROP TABLE IF EXISTS {TABLE}")
            return
        except RuntimeError:
            time.sleep(2)
