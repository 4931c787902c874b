"""A simple client of the platform: requests through the balancers all the time, each failed one kept."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Sequence

from report import PROJECT, lab
from security.vault import lab_secrets

# Through nginx, gunicorn, PgBouncer and PostgreSQL, HAProxy and Redis: /ready/ asks them all.
PATHS = ("/ready/", "/health/", "/ready/")
NAME = "obcms.lab.internal"


class Requests:
    """Threads that ask one balancer each, a new connection for every request; used as a context."""

    def __init__(self, pause: float = 0.1) -> None:
        self.sent, self.failures, self.slowest = 0, list[str](), 0.0
        self._pause, self._stop, self._lock = pause, threading.Event(), threading.Lock()
        self._context = ssl.create_default_context(cadata=lab_secrets()["pki_ca_certificate"])
        balancers: Sequence[str] = [host["address"] for host in lab.wanted_hosts() if "lb" in host["name"]]
        self._threads = [threading.Thread(target=self._ask, args=(address,)) for address in balancers]

    def _once(self, address: str, path: str) -> str:
        connection = http.client.HTTPSConnection(NAME, timeout=20, context=self._context)
        # The certificate is checked for the name that browsers use, wherever the connection goes.
        connection._create_connection = lambda *_: socket.create_connection((address, 443), 20)  # type: ignore[attr-defined]
        try:
            connection.request("GET", path, headers={"Host": NAME})
            status = connection.getresponse().status
            return "" if status == 200 else f"{address} {path}: {status}"
        except (OSError, http.client.HTTPException) as error:
            return f"{address} {path}: {error!r}"
        finally:
            connection.close()

    def _ask(self, address: str) -> None:
        number = 0
        while not self._stop.is_set():
            begin = time.monotonic()
            failed = self._once(address, PATHS[number % len(PATHS)])
            number += 1
            with self._lock:
                self.sent += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if failed:
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {failed}")
            self._stop.wait(self._pause)

    def __enter__(self) -> Requests:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def site(log: str) -> str:
    """Run site.yml on the lab; its output. RuntimeError when it fails."""
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-playbook", "-i", "inventories/lab", "site.yml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)
    path = PROJECT / ".cache" / f"{log}.log"
    path.parent.mkdir(exist_ok=True)
    path.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise RuntimeError(f"site.yml failed; its output is in .cache/{log}.log")
    return done.stdout


def changes(text: str) -> dict[str, int]:
    """Changes of each host that has any, from the recap of a run."""
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", text, re.MULTILINE)
    return {host: int(count) for host, count in recap if count != "0"}
