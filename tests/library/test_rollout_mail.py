"""The daily mail: what it says, and that it goes out when there are no figures."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import socketserver
import threading
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/rollout_mail/files/rollout-mail"
loader = importlib.machinery.SourceFileLoader("rollout_mail", str(PROGRAM))
spec = importlib.util.spec_from_loader("rollout_mail", loader)
assert spec
mail: Any = importlib.util.module_from_spec(spec)
loader.exec_module(mail)

FOUND: dict[str, Any] = {
    "states": [({"moa": "MOH", "wave": "1", "state": "proven"}, 1.0), ({"moa": "OCM", "wave": "3", "state": "planned"}, 1.0)],
    "planned": [({"moa": "MOH", "wave": "1"}, 30.0), ({"moa": "OCM", "wave": "3"}, 40.0)],
    "complete": [({"wave": "1"}, 1.0), ({"wave": "3"}, 0.0)],
    "users": [({"organisation": "MOH"}, 29.0)],
    "logged_in": [({"organisation": "MOH"}, 12.0)],
    "logins": [({"result": "success"}, 40.2), ({"result": "failure"}, 3.0)],
    "uptime": [({}, 99.98)],
    "errors": [({}, float("nan"))],
    "p95": [],
    "alerts": [({"alertname": "Watchdog"}, 1.0), ({"alertname": "HostDiskFull"}, 2.0)],
}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    missing = str(tmp_path / "missing")
    return {
        "name": "OBCMS", "to": ["a@example.org", "b@example.org"], "from": "c@example.org", "tls": False, "user": "", "password": "",
        "timezone": "Asia/Manila", "prometheus": "https://127.0.0.1:1", "ca": missing, "certificate": missing, "key": missing,
    }  # fmt: skip


def test_what_it_says() -> None:
    subject, text = mail.page(FOUND)
    assert subject == "1 of 2 organisations on board"
    for words in ("Waves complete: 1 of 2", "29 of 70 planned, 12 have logged in", "40 and 3", "99.98 %", "Alerts now: HostDiskFull\n"):
        assert words in text
    assert text.count("no data") == 2
    assert text.splitlines()[-2].split() == ["1", "MOH", "proven", "29/30", "12"]


def test_every_question_is_answered_in_the_page() -> None:
    assert set(FOUND) == set(mail.QUERIES)


def test_without_figures_it_goes_out_and_says_so(settings: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    made = mail.message(settings)
    assert "no figures: Prometheus did not answer" in made["Subject"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert mail.main(["rollout-mail", str(tmp_path / "settings.json"), "--print"]) == 1
    assert "did not answer" in capsys.readouterr().out


class Post(socketserver.StreamRequestHandler):
    """As much of a mail server as one mail needs."""

    taken: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        body = False
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            self.taken.append(line)
            if body and line != ".":
                continue
            word = line.split(" ")[0].upper()
            body = word == "DATA"
            self.wfile.write(b"354 go\r\n" if body else b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            if word == "QUIT":
                return


def test_it_reaches_everybody(settings: dict[str, Any]) -> None:
    Post.taken = []
    with socketserver.TCPServer(("127.0.0.1", 0), Post) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        mail.send({**settings, "server": f"127.0.0.1:{server.server_address[1]}"}, mail.message(settings))
    assert [line for line in Post.taken if line.lower().startswith("rcpt")] == ["rcpt TO:<a@example.org>", "rcpt TO:<b@example.org>"]
    assert any(line.startswith("Subject: OBCMS rollout, ") for line in Post.taken)
