"""The load test against a small server: it must count what fails, wait for nothing, and repeat nothing."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answer(handler: BaseHTTPRequestHandler, status: int = 200, length: int = 2) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(b"ok")


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def cut(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, length=1000)
    handler.close_connection = True


class Backend(ThreadingHTTPServer):
    """Behaves well until the moment it is told to fail, and again after some requests."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, behaviour: Behaviour, good_before: int, bad: int) -> None:
        self.asked, self.opened, self.lock = 0, 0, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(handler) -> None:  # noqa: N805
                with self.lock:
                    self.asked += 1
                    failing = good_before < self.asked <= good_before + bad
                (behaviour if failing else answer)(handler)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> Any:
        self.opened += 1
        return super().get_request()

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def served(behaviour: Behaviour, good_before: int = 10, bad: int = 1000) -> Iterator[Backend]:
    with Backend(behaviour, good_before, bad) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def load(place: Path, port: int, *extra: str, seconds: int = 2) -> tuple[int, dict[str, Any], str]:
    command = [
        sys.executable,
        "scripts/loadtest.py",
        "--url",
        f"http://127.0.0.1:{port}",
        "--seconds",
        str(seconds),
        "--json",
        str(place / "load.json"),
    ]
    done = subprocess.run([*command, "--errors", str(place / "errors.jsonl"), *extra], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads((place / "load.json").read_text()), done.stdout + done.stderr


def test_good_answers_are_no_failures_and_kept_connections_are_kept(tmp_path: Path) -> None:
    with served(answer) as server:
        status, found, text = load(tmp_path, server.server_port, "--rate", "40")
    assert (status, found["failures"]) == (0, 0)
    assert 60 <= found["requests"] == server.asked <= 84
    # Half of them came over new connections, the others over very few.
    assert server.asked / 2 <= server.opened <= server.asked / 2 + 15
    assert "failures: none" in text


@pytest.mark.parametrize(
    ("behaviour", "kind", "patience"),
    [
        (lambda handler: answer(handler, 500), "status 500", "15"),
        (lambda handler: answer(handler, 302), "status 302", "15"),
        (reset, "reset", "15"),
        (hang_up, "reset", "15"),
        (cut, "reset", "15"),
        (lambda handler: time.sleep(6), "time-out", "3"),
    ],
)
def test_every_failure_is_counted_once_and_logged(tmp_path: Path, behaviour: Behaviour, kind: str, patience: str) -> None:
    with served(behaviour, bad=7) as server:
        status, found, text = load(tmp_path, server.server_port, "--rate", "30", "--timeout", patience)
    assert status == 1
    assert found["failures_by_kind"] == {kind: 7}
    # Nothing was asked twice to hide it.
    assert server.asked == found["requests"]
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert lines == found["errors"]
    assert {line["kind"] for line in lines} == {kind}
    assert text.count("FAILED 20") == 7


def test_nobody_there_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        status, found, _ = load(tmp_path, free.getsockname()[1], seconds=1)
    assert status == 1
    assert found["failures_by_kind"] == {"refused": found["requests"]}


def test_a_platform_that_stands_still_is_not_asked_less_and_the_wait_counts(tmp_path: Path) -> None:
    """A loop that waits for answers would ask each kind once a second here."""
    with served(lambda handler: (time.sleep(1), answer(handler))[1], good_before=0) as server:
        status, found, _ = load(tmp_path, server.server_port, "--rate", "20")
    assert status == 0
    assert 25 <= found["requests"] <= 44
    assert found["longest_seconds"] >= 1.0


def test_nonsense_is_named(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "scripts/loadtest.py", "--rate", "0"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--rate is 0" in done.stderr
    done = subprocess.run([sys.executable, "scripts/loadtest.py", str(tmp_path / "x")], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no inventory" in done.stderr
