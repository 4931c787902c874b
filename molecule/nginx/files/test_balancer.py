"""A client of the balancer, from outside. The hosts' names, address and authority come from the environment."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

ADDRESS, DOMAIN, AUTHORITY = (os.environ[name] for name in ("BALANCER", "DOMAIN", "AUTHORITY"))
PROJECT = "obcms-molecule-nginx"
BACKENDS = ("web1", "web2")


class Answer(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: bytes
    seconds: float


def open_tls(port: int = 443) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=AUTHORITY)
    return context.wrap_socket(socket.create_connection((ADDRESS, port), timeout=30), server_hostname=DOMAIN)


def ask(path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None, plain: bool = False) -> Answer:
    connection = http.client.HTTPConnection(ADDRESS, timeout=60)
    connection.sock = socket.create_connection((ADDRESS, 80), timeout=30) if plain else open_tls()
    began = time.monotonic()
    connection.request(method, path, body, {"Host": DOMAIN, **(headers or {})})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    found: dict[str, list[str]] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), []).append(value)
    return Answer(response.status, found, content, time.monotonic() - began)


def on(host: str, *command: str) -> str:
    return subprocess.run(["docker", "exec", f"{PROJECT}-{host}", *command], check=True, capture_output=True, text=True).stdout


def listens(host: str) -> bool:
    return bool(on(host, "ss", "-Hltn", "sport = :8000"))


def forgiven() -> None:
    """A fresh start of the balancer, which forgets who has failed it and who has asked too much."""
    on("lb1", "systemctl", "restart", "nginx")


@contextmanager
def without(*hosts: str) -> Iterator[None]:
    for host in hosts:
        on(host, "systemctl", "stop", "backend")
    try:
        yield
    finally:
        for host in hosts:
            on(host, "systemctl", "start", "backend")
        while not all(listens(host) for host in hosts):
            time.sleep(0.1)
        forgiven()


def counts(key: str) -> int:
    """How often the hosts together have done something, asked of each host itself."""
    script = (
        "import http.client, json, ssl; c = ssl.create_default_context(cafile='/etc/obcms/pki/ca.crt');"
        "c.load_cert_chain('/etc/obcms/pki/app.crt', '/etc/obcms/pki/app.key'); c.check_hostname = False;"
        "h = http.client.HTTPSConnection('127.0.0.1', 8000, context=c); h.request('GET', '/counts'); print(h.getresponse().read().decode())"
    )
    return sum(json.loads(on(host, "python3", "-c", script)).get(key, 0) for host in BACKENDS)


def test_every_host_gets_its_share() -> None:
    hosts = [json.loads(ask("/").body)["host"] for _ in range(40)]
    assert {host: hosts.count(host) for host in sorted(set(hosts))} == {"web1": 20, "web2": 20}


def test_the_application_learns_who_asks() -> None:
    answer = ask("/", headers={"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "X-Request-ID": "mine"})
    seen = json.loads(answer.body)["headers"]
    assert seen["X-Forwarded-Proto"] == "https"
    assert seen["Host"] == seen["X-Forwarded-Host"] == DOMAIN
    assert seen["X-Forwarded-For"] == seen["X-Real-IP"] != "203.0.113.7"
    assert seen["X-Request-ID"] == answer.headers["x-request-id"][0] != "mine"
    assert seen["Connection"] == "close"


def test_a_request_without_the_balancers_certificate_is_refused() -> None:
    done = on("lb1", "sh", "-c", f"curl -sk --max-time 5 -o /dev/null https://{backend_address()}:8000/health/; echo $?").strip()
    assert done != "0"


def backend_address() -> str:
    return on("web1", "sh", "-c", "ip -4 -json address show scope global").split('"local":"')[1].split('"')[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_host_that_left_costs_no_error(method: str) -> None:
    key = f"{method} /left-{method}"
    before = counts(key)
    with without("web2"):
        answers = [ask(f"/left-{method}", method, b"x" if method == "POST" else None) for _ in range(20)]
        assert [answer.status for answer in answers] == [200] * 20
    with without("web1"):
        assert ask("/").status == 200
    # web1 has restarted since: what matters is that nothing was answered by an error and nothing done twice.
    assert counts(key) - before in (0, 20)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_host_that_is_silent_costs_seconds_but_no_error(method: str) -> None:
    subprocess.run(["docker", "network", "disconnect", PROJECT, f"{PROJECT}-web2"], check=True)
    try:
        answers = [ask("/", method, b"x" if method == "POST" else None) for _ in range(8)]
    finally:
        subprocess.run(["docker", "network", "connect", "--ip", os.environ["SECOND"], PROJECT, f"{PROJECT}-web2"], check=True)
        forgiven()
    assert [answer.status for answer in answers] == [200] * 8
    # 2 s for each of the three attempts that max_fails allows, then the host is left alone. The rest is for a slow machine.
    assert sum(answer.seconds for answer in answers) < 12


def test_a_post_that_was_sent_is_never_sent_again() -> None:
    before = counts("POST /die"), counts("GET /die")
    answer = ask("/die", "POST", b"order")
    assert answer.status == 502
    assert b"We are sorry" in answer.body
    assert counts("POST /die") - before[0] == 1
    assert ask("/die").status == 502
    assert counts("GET /die") - before[1] == 2
    forgiven()


def test_an_error_of_the_application_is_its_own() -> None:
    answer = ask("/fail")
    assert (answer.status, json.loads(answer.body)) == (500, {"own": "page"})


def test_nobody_left_shows_the_friendly_page_and_the_first_who_returns_serves() -> None:
    with without(*BACKENDS):
        for method in ("GET", "POST"):
            answer = ask("/", method, b"x" if method == "POST" else None)
            assert answer.status == 502
            assert b"We are sorry" in answer.body
            assert answer.headers["strict-transport-security"]
    assert ask("/").status == 200


def test_logins_are_limited() -> None:
    forgiven()
    assert [ask("/login/").status for _ in range(8)] == [200] * 4 + [429] * 4
    # One limit for all of these pages, whatever comes after the name.
    pages = ("/logout/", "/password/reset/", "/register/", "/admin/login/", "/accounts/login/")
    assert [ask(page).status for page in pages].count(429) >= 4


def test_the_interface_is_limited() -> None:
    forgiven()
    began = time.monotonic()
    answers = [ask("/api/me/").status for _ in range(60)]
    # 21 at once and one more every 0.6 s.
    assert 21 <= answers.count(200) <= 21 + (time.monotonic() - began) / 0.6 + 1
    assert set(answers) == {200, 429}


def test_probes_and_pages_are_not_limited() -> None:
    assert [ask(path).status for path in ("/health/", "/ready/", "/") * 25] == [200] * 75


def test_static_files_are_kept_for_a_year() -> None:
    on("lb1", "sh", "-c", "echo 'body{}' > /srv/obcms/static/app.1a2b3c.css")
    answer = ask("/static/app.1a2b3c.css")
    assert (answer.status, answer.headers["content-type"]) == (200, ["text/css"])
    assert answer.headers["cache-control"] == ["public, max-age=31536000, immutable"]
    missing = ask("/static/nothing.css")
    assert missing.status == 404
    assert "cache-control" not in missing.headers
    assert ask("/static../media/x").status != 403
    assert b"root:" not in ask("/static/../../etc/passwd").body


def test_uploaded_files_never_run() -> None:
    for name in ("evil.svg", "evil.HTML", "a.png", ".secret"):
        on("lb1", "sh", "-c", f"echo '<svg onload=alert(1)>' > /srv/obcms/media/{name}")
    for name, attachment in (("evil.svg", True), ("evil.HTML", True), ("a.png", False)):
        answer = ask(f"/media/{name}")
        assert answer.status == 200
        assert ("content-disposition" in answer.headers) == attachment
        assert answer.headers["x-content-type-options"] == ["nosniff"]
        assert answer.headers["content-security-policy"][0].startswith("sandbox")
    assert ask("/media/.secret").status == 404
    assert ask("/media/").status == 403


def test_a_body_of_100_mb_passes_and_a_larger_one_does_not() -> None:
    body = bytes(100 * 1024 * 1024)
    assert json.loads(ask("/upload/", "POST", body).body)["body"] == len(body)
    refused = subprocess.run(
        [
            "curl",
            "-sk",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--resolve",
            f"{DOMAIN}:443:{ADDRESS}",
            "--data-binary",
            "@-",
            f"https://{DOMAIN}/upload/",
        ],
        input=body + b"x",
        capture_output=True,
        check=False,
    )
    assert refused.stdout == b"413"


def test_events_arrive_as_they_happen() -> None:
    tls = open_tls()
    tls.sendall(f"GET /events/stream/ HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n".encode())
    began, text, first = time.monotonic(), "", 0.0
    while "data: 11" not in text:
        text += tls.recv(4096).decode()
        first = first or ("data: 0" in text and time.monotonic() - began) or 0.0
    assert first < 2 < 5 < time.monotonic() - began


def test_a_websocket_talks_both_ways() -> None:
    tls = open_tls()
    tls.sendall(f"GET /ws/ HTTP/1.1\r\nHost: {DOMAIN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode())
    assert b"101" in tls.recv(4096).split(b"\r\n")[0]
    for word in (b"one\n", b"two\n"):
        tls.sendall(word)
        assert tls.recv(4096) == word


def test_a_silent_websocket_stays_open_for_minutes() -> None:
    tls = open_tls()
    tls.sendall(f"GET /ws/ HTTP/1.1\r\nHost: {DOMAIN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode())
    assert b"101" in tls.recv(4096).split(b"\r\n")[0]
    # Longer than any answer may take.
    time.sleep(135)
    tls.sendall(b"still there\n")
    assert tls.recv(4096) == b"still there\n"


def test_headers_are_sent_once() -> None:
    plain = ask("/").headers
    assert plain["strict-transport-security"] == ["max-age=63072000; includeSubDomains"]
    assert (plain["x-frame-options"], plain["x-content-type-options"]) == (["DENY"], ["nosniff"])
    assert "server" not in plain or "/" not in plain["server"][0]
    own = ask("/own-headers").headers
    assert own["x-frame-options"] == ["SAMEORIGIN"]
    assert own["strict-transport-security"] == ["max-age=63072000; includeSubDomains"]


def test_http_leads_to_https_and_other_names_nowhere() -> None:
    answer = ask("/login/?next=/", "POST", b"x", plain=True)
    assert (answer.status, answer.headers["location"]) == (308, [f"https://{DOMAIN}/login/?next=/"])
    for plain in (True, False):
        assert ask("/", headers={"Host": "evil.example"}, plain=plain).status == 421
    assert ask("/metrics").status == ask("/metrics/").status == 403


def test_tls_is_of_this_decade() -> None:
    for option, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3 -groups X25519MLKEM768", True)):
        shown = on("lb1", "sh", "-c", f"echo | openssl s_client {option} -connect 127.0.0.1:443 -servername {DOMAIN} 2>&1; true")
        assert ("Cipher is (NONE)" not in shown and "Cipher is" in shown) == works, (option, shown[-600:])
    version = subprocess.run(
        [
            "curl",
            "-s",
            "--cacert",
            AUTHORITY,
            "-o",
            "/dev/null",
            "-w",
            "%{http_version}",
            "--resolve",
            f"{DOMAIN}:443:{ADDRESS}",
            f"https://{DOMAIN}/",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout == "2"


def test_one_switch_closes_the_platform() -> None:
    on("lb1", "touch", "/etc/nginx/obcms/maintenance.on")
    try:
        for method in ("GET", "POST"):
            for path in ("/", "/api/me/", "/events/stream/"):
                answer = ask(path, method, b"x" if method == "POST" else None)
                assert (answer.status, answer.headers["retry-after"]) == (503, ["120"])
                assert b"Back soon" in answer.body
        assert ask("/health/").status == 200
    finally:
        on("lb1", "rm", "/etc/nginx/obcms/maintenance.on")
    assert ask("/").status == 200


def test_who_is_on_the_list_passes_and_the_page_outlives_a_run() -> None:
    """The list is in the configuration; here it is put in for the client's own address, as nginx_maintenance_allow does."""
    configuration = on("lb1", "cat", "/etc/nginx/nginx.conf")
    assert "geo $passes {\n        default 0;\n" in configuration
    own = socket.create_connection((ADDRESS, 80)).getsockname()[0]
    on("lb1", "sed", "-i", f"/geo $passes {{/a {own} 1;", "/etc/nginx/nginx.conf")
    on("lb1", "touch", "/etc/nginx/obcms/maintenance.on")
    on("lb1", "systemctl", "reload", "nginx")
    try:
        end = time.monotonic() + 10
        while ask("/").status == 503 and time.monotonic() < end:
            time.sleep(0.2)
        assert ask("/").status == 200
        assert on("lb1", "sh", "-c", f"curl -sko /dev/null -w '%{{http_code}}' --resolve {DOMAIN}:443:127.0.0.1 https://{DOMAIN}/") == "503"
    finally:
        on("lb1", "rm", "/etc/nginx/obcms/maintenance.on")
        on("lb1", "sed", "-i", f"/^{own} 1;$/d", "/etc/nginx/nginx.conf")
        on("lb1", "systemctl", "reload", "nginx")
    assert on("lb1", "cat", "/etc/nginx/nginx.conf") == configuration


def test_a_balancer_that_leaves_cuts_no_stream_and_puts_off_new_ones() -> None:
    tls = open_tls()
    tls.sendall(f"GET /events/stream/ HTTP/1.1\r\nHost: {DOMAIN}\r\nAccept: text/event-stream\r\n\r\n".encode())
    assert b"data: 0" in tls.recv(4096) + tls.recv(4096)
    on("lb1", "touch", "/run/obcms.leaving")
    try:
        later = ask("/events/stream/", headers={"Accept": "text/event-stream"})
        assert (later.status, later.headers["content-type"]) == (200, ["text/event-stream"])
        assert later.body == b": this balancer leaves\nretry: 1000\n\n"
        assert ask("/").status == 200
        text = ""
        while "data: 11" not in text:
            piece = tls.recv(4096).decode()
            assert piece
            text += piece
    finally:
        on("lb1", "rm", "/run/obcms.leaving")
    assert b"data: 0" in ask("/events/stream/", headers={"Accept": "text/event-stream"}).body


def test_the_log_tells_where_the_time_went() -> None:
    ask("/logged")
    lines = [json.loads(line) for line in on("lb1", "tail", "-n", "20", "/var/log/nginx/access.log").splitlines()]
    line = next(line for line in reversed(lines) if line["uri"] == "/logged")
    assert line["upstream"].endswith(":8000")
    # nginx looks at its clock once per turn of its loop, so that the sum may be a few ms less than its part.
    assert float(line["seconds"]) + 0.01 >= float(line["upstream_seconds"]) >= 0
    assert len(line["id"]) == 32


def test_only_the_master_is_root() -> None:
    owners = on("lb1", "ps", "-o", "user=,args=", "-C", "nginx").splitlines()
    assert {line.split()[0] for line in owners if "worker" in line} == {"www-data"}


def test_it_comes_back_after_a_reboot() -> None:
    subprocess.run(["docker", "restart", f"{PROJECT}-lb1"], check=True, capture_output=True)
    end = time.monotonic() + 60
    while True:
        try:
            if ask("/").status == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.5)
