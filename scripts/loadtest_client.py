"""HTTP as an honest client speaks it: nothing is asked twice, and every answer that was not expected is a failure with its reason.

Used by loadtest.py, whose Locust makes sockets cooperative.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 15.0


class Failed(Exception):
    """One request that failed; `kind` is what the failures are counted by."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Target:
    """What is asked, and where it is reached."""

    url: str
    address: str = ""
    authority: str = ""
    timeout: float = TIMEOUT_SECONDS

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(self.address or host, parts.port or 80, timeout=self.timeout)
        return Connection(host, parts.port or 443, self.address or host, context_of(self.authority), self.timeout)


_contexts: dict[str, ssl.SSLContext] = {}


def context_of(authority: str) -> ssl.SSLContext:
    """Checks certificates against the machine's authorities and, where one is given, the platform's own."""
    if authority not in _contexts:
        context = ssl.create_default_context()
        if authority:
            context.load_verify_locations(cadata=authority)
        _contexts[authority] = context
    return _contexts[authority]


class Connection(http.client.HTTPSConnection):
    """Goes to an address, whatever the name leads to; the certificate must carry the name."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self.address, self.checks = address, context

    def connect(self) -> None:
        raw = socket.create_connection((self.address, self.port), self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.checks.wrap_socket(raw, server_hostname=self.host)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


def reason(error: BaseException) -> Failed:
    """What went wrong on the wire, in the words failures are counted by."""
    if isinstance(error, Failed):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, TimeoutError):
        return Failed("time-out", text)
    if isinstance(error, ConnectionRefusedError):
        return Failed("refused", text)
    if isinstance(error, ConnectionResetError | BrokenPipeError | http.client.HTTPException | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Failed("reset", text)
    return Failed("other", text)


@dataclass
class Client:
    """Asks the target, over a new connection each time or over kept ones."""

    target: Target
    kept: list[tuple[http.client.HTTPConnection, float]] = field(default_factory=list)
    # Less than the balancers' own 65 s, as browsers and libraries do: what they close by then is not asked any more.
    keep_seconds: float = 50.0

    def ask(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None, keep: bool = False, expect: int = 200
    ) -> Answer:
        """The answer; Failed when there is none or another one than expected."""
        connection = self._lend(keep)
        try:
            connection.request(method, path, body, {"Connection": "keep-alive" if keep else "close", **(headers or {})})
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise reason(error) from error
        if keep and not response.will_close:
            self.kept.append((connection, time.monotonic()))
        else:
            connection.close()
        if answer.status != expect:
            raise Failed(f"status {answer.status}", f"{answer.status} instead of {expect}: {answer.body[:200].decode(errors='replace')}")
        return answer

    def stream(self, path: str, *, headers: Mapping[str, str], ends: tuple[bytes, ...]) -> int:
        """Reads an event stream to its end, and returns its bytes; Failed when it is cut before one of `ends` came."""
        connection = self._lend(keep=False)
        size, tail = 0, b""
        try:
            connection.request("GET", path, None, dict(headers))
            response = connection.getresponse()
            if response.status != 200:
                raise Failed(f"status {response.status}", f"{response.status} instead of 200")
            while piece := response.read1(65536):
                size, tail = size + len(piece), (tail + piece)[-4096:]
        except (OSError, http.client.HTTPException) as error:
            raise reason(error) from error
        finally:
            connection.close()
        if not any(end in tail for end in ends):
            raise Failed("reset", f"the stream ended after {size} bytes without its last event")
        return size

    def _lend(self, keep: bool) -> http.client.HTTPConnection:
        while keep and self.kept:
            connection, since = self.kept.pop()
            # What the other side has closed meanwhile is readable: its end. Nothing was sent, so taking another one hides no failure.
            if connection.sock and time.monotonic() - since < self.keep_seconds and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        return self.target.connection()
