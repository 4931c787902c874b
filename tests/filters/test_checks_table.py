"""The table at the end of verify.yml."""

from __future__ import annotations

from typing import Any

from checks_table import checks_table, collect_checks


def check(service: str, host: str, ok: bool = True, answer: str = "PONG") -> dict[str, Any]:
    return {"service": service, "host": host, "asked": "PING", "answer": answer, "ok": ok}


def test_failed_checks_come_last_and_are_counted() -> None:
    checks = [check("redis", "redis2", ok=False, answer="no  answer\nat all"), check("redis", "redis1"), check("app", "web10")]
    assert checks_table(checks).splitlines() == [
        "service  host    asked  answer            result",
        "-------  ------  -----  ----------------  ------",
        "app      web10   PING   PONG              ok",
        "redis    redis1  PING   PONG              ok",
        "redis    redis2  PING   no answer at all  FAILED",
        "2 of 3 checks passed, 1 FAILED",
    ]


def test_hosts_of_a_service_are_in_order() -> None:
    lines = checks_table([check("redis", "b"), check("redis", "a"), check("nginx", "c")]).splitlines()
    assert [line.split()[1] for line in lines[2:-1]] == ["c", "a", "b"]
    assert lines[-1] == "3 of 3 checks passed"


def test_long_answers_are_cut_at_sixty_signs() -> None:
    assert "x" * 60 in checks_table([check("app", "web1", answer="x" * 60)])
    cut = checks_table([check("app", "web1", answer="x" * 61)])
    assert "x" * 59 + "…" in cut
    assert "x" * 60 not in cut


def test_a_host_that_never_answered_is_a_failed_check() -> None:
    said = [check("app", "web1")]
    silent = {"service": "host", "host": "web2", "asked": "SSH and sudo", "answer": "no answer", "ok": False}
    assert collect_checks(["web1", "web2", "web3"], {"web1": {"verify_checks": said}, "web2": {}, "web3": {"verify_checks": []}}) == [
        *said,
        silent,
        {**silent, "host": "web3"},
    ]
