#!/usr/bin/env python3
"""Application of the scenario: answers over mutual TLS and counts what it was asked to do."""

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PKI = "/etc/obcms/pki"
done: dict[str, int] = {}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        # In the connection's own thread, so that a silent client holds up nobody else.
        self.request.settimeout(150)
        self.request.do_handshake()
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.path == "/own-headers":
            self.send_header("X-Frame-Options", "SAMEORIGIN")
            self.send_header("Strict-Transport-Security", "max-age=1")
        self.end_headers()
        self.wfile.write(data)

    def count(self) -> None:
        with lock:
            key = f"{self.command} {urlsplit(self.path).path}"
            done[key] = done.get(key, 0) + 1

    def read_body(self) -> int:
        left = total = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        return total

    def do_GET(self) -> None:
        self.count()
        if self.path == "/counts":
            return self.answer(200, dict(done))
        if self.path.startswith("/die"):
            return self.request.shutdown(socket.SHUT_RDWR)
        if self.path.startswith("/fail"):
            return self.answer(500, {"own": "page"})
        if self.path.startswith("/events/"):
            return self.stream()
        if self.headers.get("Upgrade"):
            return self.echo()
        body = self.read_body()
        return self.answer(200, {"host": socket.gethostname(), "method": self.command, "body": body, "headers": dict(self.headers)})

    do_POST = do_PUT = do_GET

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(12):
            self.wfile.write(f"data: {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.5)

    def echo(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while line := self.rfile.readline():
            self.wfile.write(line)
            self.wfile.flush()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{PKI}/ca.crt")
context.load_cert_chain(f"{PKI}/app.crt", f"{PKI}/app.key")
context.verify_mode = ssl.CERT_REQUIRED
server = Server(("0.0.0.0", 8000), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
