"""Write one key after the other through the local HAProxy, as an application does; print one JSON line of what happened.

Usage: writer.py SECONDS, the password of the account `app` in REDIS_PASSWORD.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

PORT = 6379


class Client:
    """A connection through HAProxy. Plain text: TLS begins behind it."""

    def __init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=1)
        self.file = self.socket.makefile("rb")
        self.ask("AUTH", "app", os.environ["REDIS_PASSWORD"])

    def ask(self, *words: str) -> str:
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        line = self.file.readline().decode().strip()
        if not line or line.startswith("-"):
            raise OSError(line or "closed")
        if line.startswith("$"):
            return self.file.read(int(line[1:]) + 2).decode().strip() if line != "$-1" else ""
        return line


def kept(number: int) -> bool:
    """Whether the key is there; asked until somebody answers."""
    for _ in range(60):
        try:
            return Client().ask("GET", f"writer:{number}") == "1"
        except OSError:
            time.sleep(0.5)
    raise SystemExit("no master within 30 s after the end")


def main() -> None:
    client, written, stall, errors, last = None, [], 0.0, {}, time.monotonic()
    number, end = 0, time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        number += 1
        try:
            client = client or Client()
            client.ask("SET", f"writer:{number}", "1")
        except OSError as error:
            text = str(error)[:40]
            errors[text] = errors.get(text, 0) + 1
            client = None
        else:
            stall, last = max(stall, time.monotonic() - last), time.monotonic()
            written.append(number)
        time.sleep(0.05)
    # A wait that has not ended by then counts as well.
    stall = max(stall, time.monotonic() - last)
    lost = [n for n in written if not kept(n)]
    print(json.dumps({"written": len(written), "lost": len(lost), "stall": round(stall, 1), "errors": errors}))


if __name__ == "__main__":
    main()
