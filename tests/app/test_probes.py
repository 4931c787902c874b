from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from reference import ENVIRONMENT

from obcms import probes
from obcms.patience import Asker

BEARER = {"HTTP_AUTHORIZATION": f"Bearer {ENVIRONMENT['METRICS_TOKEN']}"}


@pytest.fixture
def prober() -> Any:
    """Asks as balancers and Prometheus do: by address, over plain http."""
    from django.test import Client

    return Client(HTTP_HOST="198.18.0.11:8000")


def test_health_is_exactly_what_the_platform_expects(prober: Any) -> None:
    answer = prober.get("/health/")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "service": "obcms", "version": "1.0.0"}
    assert answer["Content-Length"] == str(len(answer.content))


def test_ready_with_everything_up(prober: Any) -> None:
    answer = prober.get("/ready/")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"database": True, "cache": True}})


def test_not_ready_when_a_check_fails(prober: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> bool:
        raise ConnectionError

    monkeypatch.setitem(probes.CHECKS, "cache", broken)
    answer = prober.get("/ready/")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": True, "cache": False})


def test_not_ready_when_a_check_hangs(prober: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(name: str, question: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if name == "ready-cache":
            future.set_result(True)
        return future

    monkeypatch.setattr(probes.asker, "begin", begin)
    monkeypatch.setattr(probes, "CHECK_SECONDS", 0.05)
    answer = prober.get("/ready/")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": False, "cache": True})


def test_a_question_that_hangs_is_not_asked_again_and_again() -> None:
    asker, release, asked = Asker(), threading.Event(), []

    def hang() -> bool:
        asked.append(1)
        return release.wait(5)

    first, second = asker.begin("db", hang), asker.begin("db", hang)
    assert first is second
    release.set()
    assert first.result(5) is True
    assert asker.begin("db", hang).result(5) is True
    assert len(asked) == 2


@pytest.mark.parametrize("headers", [{}, {"HTTP_AUTHORIZATION": "Bearer wrong"}, {"HTTP_AUTHORIZATION": "Basic x"}])
def test_metrics_need_the_token(prober: Any, headers: dict[str, str]) -> None:
    assert prober.get("/metrics", **headers).status_code == 401


def test_metrics_tell_of_the_release_and_the_organisations(prober: Any, member: Any) -> None:
    member()
    text = prober.get("/metrics", **BEARER).content.decode()
    assert 'version="1.0.0"' in text
    assert 'obcms_organisation_state{organisation="MOH",state="onboarded",type="ministry",wave=""} 1.0' in text
    assert 'obcms_organisation_users{organisation="MOH"} 1.0' in text


def test_labels_stay_few_whatever_clients_ask_for(client: Any, prober: Any) -> None:
    for number in range(20):
        client.get(f"/nothing-{number}/")
        client.post("/login/", {"username": f"nobody-{number}", "password": "x"})
    text = prober.get("/metrics", **BEARER).content.decode()
    assert "nothing-" not in text
    assert "nobody-" not in text
    assert 'obcms_logins_total{organisation="none",result="failure"}' in text


def test_a_probe_is_read_only(prober: Any) -> None:
    assert prober.post("/health/").status_code == 405
