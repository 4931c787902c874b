"""Stands in for balancer, application hosts, Patroni and Prometheus: TLS servers on loopback addresses, fed from platform.json."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BALANCER, APP_PORT, PATRONI_PORT, PROMETHEUS_PORT = 8443, 8000, 8008, 9090
EMPTY: dict[str, Any] = {
    "moas": {}, "accounts": {}, "fail": [], "stuck": [], "calls": [], "version": "1.0.0", "ready": 200, "leaders": 1, "leak": [],
    "values": {"default": 0}, "limited": 0,
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    state_file: Path

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def _state(self) -> dict[str, Any]:
        for _ in range(5):
            try:
                return dict(json.loads(self.state_file.read_text()))
            except ValueError:
                continue
        return EMPTY

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _who(self, state: dict[str, Any]) -> dict[str, Any] | None:
        cookie = self.headers.get("Cookie") or ""
        name = next((part.split("=", 1)[1] for part in cookie.split("; ") if part.startswith("session=")), "")
        return state["accounts"].get(name)  # type: ignore[no-any-return]

    def do_GET(self) -> None:
        state = self._state()
        if self.path == "/health/":
            return self._answer(200, {"status": "healthy", "version": state["version"]})
        if self.path == "/ready/":
            return self._answer(state["ready"], {"status": "ready"})
        if self.path == "/cluster":
            return self._answer(200, {"members": [{"name": "db1", "role": "leader", "state": "running"}][: state["leaders"]]})
        if self.path == "/login/":
            return self._answer(200, '<input name="csrfmiddlewaretoken" value="t">', {"Set-Cookie": "csrftoken=t"})
        who = self._who(state)
        if who is None:
            return self._answer(401, {})
        if self.path == "/api/me/":
            return self._answer(200, {"organisation": who["organisation"]})
        number = int(self.path.strip("/").rpartition("/")[2])
        own = state["moas"][who["organisation"]]["newest_record"]
        return self._answer(200 if number == own or who["organisation"] in state["leak"] else 404, {})

    def do_POST(self) -> None:
        state = self._state()
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if self.path == "/api/v1/query":
            return self._query(state, form["query"])
        account = state["accounts"].get(form["username"])
        fits = account and account["password"] == form["password"] and state["moas"][account["organisation"]]["state"] == "onboarded"
        if not fits:
            return self._answer(200, "wrong")
        return self._answer(302, "", {"Location": "/", "Set-Cookie": f"session={form['username']}"})

    def _query(self, state: dict[str, Any], query: str) -> None:
        """The first name of `values` that occurs in the query decides; null is no data."""
        values = state["values"]
        value = next((number for name, number in values.items() if name in query), values["default"])
        result = [] if value is None else [{"metric": {}, "value": [0, str(value)]}]
        self._answer(200, {"status": "success", "data": {"resultType": "vector", "result": result}})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def serve(address: str, port: int, state_file: Path, certificate: Path, key: Path) -> Server:
    handler = type("StateHandler", (Handler,), {"state_file": state_file})
    server = Server((address, port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
