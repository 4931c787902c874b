"""Requests as members of organisations on board, through the balancer, from hosts of the lab that do nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from report import on

from .steps import shell

HOSTS = ("mon1", "backup1")
PLACE = "/dev/shm/proof-load"
# One loop per host: reads its sessions anew each second, asks for each of them in turn, writes down every answer that is not a 200.
LOOP = """
import http.client, json, os, socket, ssl, sys, time
place, address, domain = sys.argv[1:4]
context = ssl.create_default_context(cafile="/etc/obcms/pki/ca.crt")
class Connection(http.client.HTTPSConnection):
    def connect(self):
        self.sock = context.wrap_socket(socket.create_connection((address, 443), 20), server_hostname=domain)
asked, turn = 0, 0
with open(place + "/bad.jsonl", "a", buffering=1) as bad:
    while not os.path.exists(place + "/stop"):
        plan = json.load(open(place + "/plan.json"))
        end = time.time() + 1
        for _ in range(max(1, round(plan["rate"]))):
            if not plan["sessions"]:
                break
            code, key = plan["sessions"][turn % len(plan["sessions"])]
            turn += 1
            begin = time.time()
            # The API takes 100 requests a minute from one address; pages have no such limit.
            path = "/api/me/" if plan["api"] or turn % 20 == 0 else "/"
            try:
                connection = Connection(domain, timeout=30)
                connection.request("GET", path, headers={"Cookie": "sessionid=" + key})
                answer = connection.getresponse()
                text = answer.read()
                found = answer.status if path == "/" or code.encode() in text else "foreign"
                connection.close()
            except Exception as error:
                found = type(error).__name__ + ": " + str(error)
            asked += 1
            if found != 200:
                bad.write(json.dumps([begin, code, path, found]) + "\\n")
            time.sleep(max(0, 1 / max(1, plan["rate"]) - (time.time() - begin)))
        json.dump(asked, open(place + "/asked.tmp", "w"))
        os.replace(place + "/asked.tmp", place + "/asked")
        time.sleep(max(0, end - time.time()))
"""
SESSIONS = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from accounts.models import User
Store = import_module(settings.SESSION_ENGINE).SessionStore
made = []
for user in User.objects.filter(role="service", organisation__code__in=CODES):
    session = Store()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    made.append([user.organisation.code, session.session_key])
print(json.dumps(made))
"""


@dataclass
class Load:
    """A load that grows with the organisations on board: requests per minute and user, times a factor for this machine."""

    users: dict[str, int]
    factor: float
    address: str = "198.18.0.10"
    domain: str = "obcms.lab.internal"
    per_minute: float = 10.0
    api_only: bool = False
    sessions: list[list[str]] = field(default_factory=list)

    def start(self) -> None:
        for host in HOSTS:
            on(host, f"rm -rf {PLACE}; mkdir -m 700 {PLACE}; cat > {PLACE}/loop.py <<'EOF'\n{LOOP}\nEOF")
        self._tell()
        for host in HOSTS:
            on(host, f"nohup python3 {PLACE}/loop.py {PLACE} {self.address} {self.domain} >{PLACE}/log 2>&1 </dev/null &")

    def join(self, codes: list[str]) -> None:
        """Members of these organisations work from now on. They come in without a login: nobody's limit of logins is used up."""
        self.sessions += shell(SESSIONS.replace("CODES", repr(codes)))
        self._tell()

    @property
    def rate(self) -> float:
        """Requests per second of all hosts together."""
        return self.factor * self.per_minute / 60 * sum(self.users[code] for code, _ in self.sessions)

    def _tell(self) -> None:
        for place, host in enumerate(HOSTS):
            mine = self.sessions[place :: len(HOSTS)]
            plan = json.dumps({"rate": self.rate / len(HOSTS), "sessions": mine, "api": self.api_only})
            on(host, f"umask 077; cat > {PLACE}/plan.tmp <<'EOF'\n{plan}\nEOF\nmv {PLACE}/plan.tmp {PLACE}/plan.json")

    def seen(self) -> tuple[int, list[list[Any]]]:
        """Requests so far, and the bad ones: time, organisation, path, what came back."""
        asked, bad = 0, []
        for host in HOSTS:
            asked += int(on(host, f"cat {PLACE}/asked 2>/dev/null || echo 0"))
            bad += [json.loads(line) for line in on(host, f"cat {PLACE}/bad.jsonl 2>/dev/null || true").splitlines()]
        return asked, sorted(bad, key=lambda row: row[0])

    def stop(self) -> None:
        for host in HOSTS:
            on(host, f"touch {PLACE}/stop; sleep 3; rm -rf {PLACE}", check=False)
