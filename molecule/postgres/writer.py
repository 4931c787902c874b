"""Writes numbered rows to whichever member leads, and tells what was acknowledged and how long nothing was.

writer.py SECONDS CONNINFO -> {"acknowledged": n, "lost": n, "longest_gap": seconds}
"""

from __future__ import annotations

import json
import sys
import time

import psycopg2


def connect(conninfo: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True
    return connection


def main() -> None:
    end, conninfo = time.monotonic() + float(sys.argv[1]), sys.argv[2]
    connection, number, acknowledged, times = None, 0, [], [time.monotonic()]
    while time.monotonic() < end:
        number += 1
        try:
            connection = connection or connect(conninfo)
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO molecule_rows VALUES (%s)", (number,))
            acknowledged.append(number)
            times.append(time.monotonic())
            time.sleep(0.05)
        except psycopg2.Error as error:
            print(f"{time.strftime('%X')} {number}: {str(error).strip()[:120]}", file=sys.stderr)
            connection = None
            time.sleep(0.2)
    with connect(conninfo).cursor() as cursor:
        cursor.execute("SELECT n FROM molecule_rows")
        found = {row[0] for row in cursor.fetchall()}
    gap = max(later - earlier for earlier, later in zip(times, times[1:], strict=False))
    print(json.dumps({"acknowledged": len(acknowledged), "lost": len(set(acknowledged) - found), "longest_gap": round(gap, 1)}))


if __name__ == "__main__":
    main()
