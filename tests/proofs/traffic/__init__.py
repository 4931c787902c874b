"""bin/loadtest as two members of an organisation of its own, beside whatever a proof does to the lab."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from report import PROJECT, Series
from rollout.steps import shell

CODE = "LOADTEST"
NAMES = ("load.one", "load.two")
MAKE = """
import json
from accounts.models import Organisation, User
organisation, _ = Organisation.objects.get_or_create(code=CODE, defaults={"name": "Load test", "type": "other"})
organisation.bring_on_board()
organisation.save()
for name, password in PASSWORDS.items():
    user, _ = User.objects.get_or_create(username=name, defaults={"organisation": organisation, "role": "service"})
    user.is_active, user.must_change_password = True, False
    user.set_password(password)
    user.save()
print(json.dumps(organisation.pk))
"""
REMOVE = """
import json
from accounts.models import Organisation, User
from work.models import Record, TaskRun, Upload
mine = {"organisation__code": CODE}
for upload in Upload.objects.filter(**mine).iterator():
    upload.file.delete(save=False)
counts = {model.__name__: model.objects.filter(**mine).delete()[0] for model in (Upload, Record, TaskRun, User)}
Organisation.objects.filter(code=CODE).delete()
print(json.dumps(counts))
"""


def members() -> list[dict[str, str]]:
    """The organisation and its two accounts, with new passwords."""
    passwords = {name: secrets.token_urlsafe(18) for name in NAMES}
    shell(MAKE.replace("CODE", repr(CODE)).replace("PASSWORDS", repr(passwords)))
    return [{"username": name, "password": password} for name, password in passwords.items()]


def remove() -> dict[str, int]:
    """The organisation and all that it has made; returns how much that was."""
    found: dict[str, int] = shell(REMOVE.replace("CODE", repr(CODE)))
    return found


class Traffic:
    """A load test that runs until it is stopped."""

    def __init__(self, rate: float, streams: int = 2) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="traffic-"))
        accounts = self.place / "accounts.json"
        accounts.touch(mode=0o600)
        accounts.write_text(json.dumps(members()))
        command = ["bin/loadtest", "--accounts", str(accounts), "--rate", str(rate), "--streams", str(streams), "--seconds", "0"]
        command += ["--json", str(self.place / "load.json"), "--errors", str(self.place / "errors.jsonl")]
        self.log = (self.place / "log").open("w")
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=self.log, stderr=subprocess.STDOUT, text=True)
        # Clients have machines of their own; this one would wait for the cores behind the hosts that it asks. A low nice value does not
        # help: where sessions are groups of the scheduler, it counts within one.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(self.process.pid, os.SCHED_RR, os.sched_param(1))
        self._wait_for_start()

    def _wait_for_start(self) -> None:
        """Members log in slowly, to stay below the limit of the login page."""
        end = time.monotonic() + 180
        while "requests per second" not in (self.place / "log").read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the load test did not start: {(self.place / 'log').read_text()[-2000:]}")
            time.sleep(0.5)

    def errors(self) -> list[dict[str, Any]]:
        """What has failed so far."""
        path = self.place / "errors.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self) -> dict[str, Any]:
        """End it, and return what it measured."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        found: dict[str, Any] = json.loads((self.place / "load.json").read_text())
        return found


def failed_requests(found: dict[str, Any]) -> Series:
    """Requests that failed, with the first of them named."""
    failed = Series("requests at the balancer that failed (not the expected answer, reset, time-out)", 0, "requests", [float(found["failures"])])
    failed.failures = [f"{row['at']} {row['request']}: {row['kind']} after {row['seconds']} s: {row['what'][:160]}" for row in found["errors"][:15]]
    return failed


def longest_answer(found: dict[str, Any], limit: float) -> Series:
    return Series("longest answer at the balancer, from when it was due", limit, values=[found["longest_seconds"]])


def told(found: dict[str, Any]) -> list[str]:
    """Notes about the load."""
    rows = [f"{row['kind']} {row['requests']} (p99 {row['p99_seconds']:.2f} s, longest {row['longest_seconds']:.2f} s)" for row in found["kinds"]]
    rate = found["requests"] / found["seconds"]
    return [
        f"Open loop, {found['requests']} requests in {found['seconds']:.0f} s ({rate:.1f} per second): {'; '.join(rows)}.",
        "The client shares the machine's cores with all hosts; it was late itself by "
        f"{found['client_lag_seconds']:.2f} s at most, which counts into the answers.",
    ]
