"""What is asked in a load test: pages, writes, uploads, logins and a stream, as a member of the platform or as nobody.

The balancers' limits per client are kept: the fixed rates below are less than 100 a minute on /api/ and 5 a minute on the login page.
"""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.cookies import SimpleCookie

from loadtest_client import Client, Failed

# Seconds between two requests to the login page: the limit is 5 a minute, 3 more at once.
LOGIN_SECONDS = 15.0
API_SECONDS = 2.0
BODY = "text of a record, some lines long\n" * 60
UPLOAD_BYTES = 200_000


@dataclass
class Account:
    """One member, who logs in once."""

    username: str
    password: str
    cookies: dict[str, str] = field(default_factory=dict)

    def headers(self, referer: str) -> dict[str, str]:
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": sent, "X-CSRFToken": self.cookies.get("csrftoken", ""), "Referer": referer, "Accept": "application/json, text/html"}

    def take(self, set_cookie: str) -> None:
        for name, morsel in SimpleCookie(set_cookie).items():
            self.cookies[name] = morsel.value


def log_in(client: Client, account: Account, pause: Callable[[float], object]) -> None:
    """Opens the session of an account; RuntimeError when the platform does not let it in."""
    try:
        page = client.ask("GET", "/login/")
        account.take(page.headers.get("Set-Cookie", ""))
        pause(LOGIN_SECONDS)
        answer = submit_login(client, account)
    except Failed as failure:
        raise RuntimeError(f"loadtest: {account.username} cannot log in: {failure}") from failure
    for value in answer.get_all("Set-Cookie") or []:
        account.take(value)
    if "sessionid" not in account.cookies:
        raise RuntimeError(f"loadtest: {account.username} was not let in; is the password in the file of --accounts right?")


def submit_login(client: Client, account: Account) -> HTTPMessage:
    token = account.cookies["csrftoken"]
    form = f"username={account.username}&password={account.password}&csrfmiddlewaretoken={token}"
    headers = {"Cookie": f"csrftoken={token}", "Content-Type": "application/x-www-form-urlencoded", "Referer": client.target.url + "/login/"}
    return client.ask("POST", "/login/", body=form.encode(), headers=headers, expect=302).headers


@dataclass(frozen=True)
class Kind:
    """One kind of request: its share of the rate, or its own fixed distance in seconds."""

    name: str
    ask: Callable[[], object]
    share: float = 0.0
    every: float = 0.0


def form(client: Client, account: Account, keep: bool) -> None:
    body = f"title=load+{uuid.uuid4()}&body={BODY.replace(' ', '+')}"
    headers = account.headers(client.target.url + "/") | {"Content-Type": "application/x-www-form-urlencoded"}
    client.ask("POST", "/records/", body=body.encode(), headers=headers, keep=keep, expect=302)


def upload(client: Client, account: Account, keep: bool) -> None:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="load.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = head.encode() + os.urandom(UPLOAD_BYTES) + f"\r\n--{mark}--\r\n".encode()
    headers = account.headers(client.target.url + "/upload/") | {"Content-Type": f"multipart/form-data; boundary={mark}"}
    answer = client.ask("POST", "/upload/", body=body, headers=headers, keep=keep, expect=201)
    if answer.json().get("size") != UPLOAD_BYTES:
        raise Failed("wrong answer", f"{UPLOAD_BYTES} bytes were sent, {answer.body[:200]!r} was answered")


def page(client: Client, account: Account, keep: bool) -> None:
    answer = client.ask("GET", "/", headers=account.headers(client.target.url), keep=keep)
    if not re.search(rb"</html>\s*$", answer.body):
        raise Failed("wrong answer", f"a page of {len(answer.body)} bytes does not end like one")


def api_write(client: Client, account: Account) -> None:
    headers = account.headers(client.target.url + "/") | {"Content-Type": "application/json"}
    client.ask("POST", "/api/records/", body=b'{"title": "load", "body": "from a program"}', headers=headers, keep=True, expect=201)


def stream(client: Client, account: Account) -> None:
    headers = account.headers(client.target.url) | {"Accept": "text/event-stream"}
    # The application ends a stream after a while; a balancer that is about to leave asks to come again, as browsers do by themselves.
    client.stream("/events/stream/", headers=headers, ends=(b"event: end", b": this balancer leaves"))


def member_mix(client: Client, accounts: list[Account]) -> list[Kind]:
    """Everything a member does. Accounts take turns."""
    turns: Iterator[Account] = itertools.cycle(accounts)
    return [
        Kind("GET page, new connection", lambda: page(client, next(turns), keep=False), share=25),
        Kind("GET page, kept connection", lambda: page(client, next(turns), keep=True), share=35),
        Kind("POST record, new connection", lambda: form(client, next(turns), keep=False), share=10),
        Kind("POST record, kept connection", lambda: form(client, next(turns), keep=True), share=15),
        Kind("POST upload of 200 kB", lambda: upload(client, next(turns), keep=False), share=5),
        Kind("GET /replica/, new connection", lambda: client.ask("GET", "/replica/", headers=next(turns).headers(client.target.url)), share=5),
        Kind("GET health, kept connection", lambda: client.ask("GET", "/health/", keep=True), share=10),
        Kind("GET /api/me/", lambda: client.ask("GET", "/api/me/", headers=next(turns).headers(client.target.url), keep=True), every=API_SECONDS),
        Kind("POST /api/records/", lambda: api_write(client, next(turns)), every=API_SECONDS),
        Kind("POST login", lambda: submit_login(client, accounts[0]), every=LOGIN_SECONDS),
    ]


def visitor_mix(client: Client, paths: list[str]) -> list[Kind]:
    """Pages that need no account."""
    kinds = [(f"GET {path}, {'kept' if keep else 'new'} connection", path, keep) for path in paths for keep in (False, True)]
    return [Kind(name, lambda path=path, keep=keep: client.ask("GET", path, keep=keep), share=1) for name, path, keep in kinds]  # type: ignore[misc]
