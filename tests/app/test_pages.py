from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from reference import PASSWORD


def test_login_leads_to_the_dashboard(client: Any, member: Any) -> None:
    member()
    assert client.get("/")["Location"] == "/login/?next=/"
    assert client.post("/login/", {"username": "aida", "password": PASSWORD})["Location"] == "/"
    page = client.get("/").content.decode()
    assert '<strong id="organisation">MOH</strong>' in page
    assert '<strong id="version">1.0.0</strong>' in page


@pytest.mark.parametrize("path", ["/login/", "/register/"])
def test_open_pages(client: Any, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/tasks/", "/upload/", "/events/", "/password/", "/replica/"])
def test_pages_behind_the_login(client: Any, signed_in: Any, path: str) -> None:
    from django.test import Client

    assert signed_in.get(path).status_code == 200
    assert Client(HTTP_X_FORWARDED_PROTO="https").get(path).status_code == 302


def test_plain_http_is_sent_to_https() -> None:
    from django.test import Client

    assert Client().get("/login/")["Location"] == "https://testserver/login/"


def test_the_dashboard_writes_and_counts(signed_in: Any) -> None:
    from accounts.models import User

    assert b'id="record-count">0<' in signed_in.get("/").content
    signed_in.post("/records/", {"title": "one"})
    page = signed_in.get("/").content
    assert b'id="record-count">1<' in page
    assert b"from the cache" in signed_in.get("/").content
    assert User.objects.get(username="aida").last_seen_at is not None


def test_an_upload_is_kept_whole_and_comes_back(signed_in: Any) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    content = b"0123456789abcdef" * 200_000
    given = SimpleUploadedFile("../../evil name.bin", content)
    answer = signed_in.post("/upload/", {"file": given}, HTTP_ACCEPT="application/json")
    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    back = signed_in.get(f"/upload/{answer.json()['id']}/")
    assert b"".join(back.streaming_content) == content


def test_an_upload_over_the_limit_is_refused(signed_in: Any) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.test import override_settings

    with override_settings(UPLOAD_MAX_BYTES=10):
        answer = signed_in.post("/upload/", {"file": SimpleUploadedFile("a", b"x" * 11)}, HTTP_ACCEPT="application/json")
    assert answer.status_code == 400


def test_the_stream_sends_state_and_ends(signed_in: Any) -> None:
    from django.test import override_settings

    with override_settings(EVENT_STREAM_SECONDS=0):
        answer = signed_in.get("/events/stream/")
        text = b"".join(answer.streaming_content).decode()
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["X-Accel-Buffering"] == "no"
    assert text.startswith("retry: 1000\n\n")
    assert "event: state\ndata: {" in text
    assert text.endswith("event: end\ndata: {}\n\n")


def test_a_stream_without_a_seat_is_short(signed_in: Any) -> None:
    from work import views

    assert views.stream_seats.acquire(blocking=False)
    try:
        text = b"".join(signed_in.get("/events/stream/").streaming_content).decode()
    finally:
        views.stream_seats.release()
    assert text.startswith("retry: 5000\n\n")
    assert text.count("event: state") == 1


def test_a_task_leaves_its_trace(signed_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from work import tasks

    queued: list[str] = []
    monkeypatch.setattr(tasks.run, "delay", queued.append)
    answer = signed_in.post("/api/tasks/", {"seconds": "0"})
    assert answer.status_code == 202
    path = f"/api/tasks/{answer.json()['id']}/"
    assert signed_in.get(path).json()["state"] == "queued"
    tasks.run(queued[0])
    tasks.run(queued[0])
    seen = signed_in.get(path).json()
    assert (seen["state"], seen["starts"]) == ("done", 2)
    assert seen["worker"]


@pytest.mark.parametrize("seconds", ["-1", "1000", "nan", "soon"])
def test_a_task_of_impossible_length_is_refused(signed_in: Any, seconds: str) -> None:
    assert signed_in.post("/api/tasks/", {"seconds": seconds}).status_code == 400


@pytest.mark.parametrize("body", ["{", "[]", '{"title": ""}', '{"title": "%s"}' % ("x" * 201)])
def test_a_bad_record_is_refused(signed_in: Any, body: str) -> None:
    assert signed_in.post("/api/records/", body, content_type="application/json").status_code == 400


def test_the_api_says_401_and_not_a_login_page(client: Any) -> None:
    assert client.get("/api/me/").status_code == 401


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("192.0.2.7", 302), ("203.0.113.9", 403), ("192.0.2.7, 203.0.113.9", 403), ("203.0.113.9, 192.0.2.7", 302), ("", 403), ("rubbish", 403)],
)
def test_the_admin_pages_believe_our_own_balancer_only(client: Any, forwarded: str, status: int) -> None:
    assert client.get("/admin/", HTTP_X_FORWARDED_FOR=forwarded).status_code == status


class TestBeat:
    def ticks(self, *ages: float, host: str = "worker1") -> None:
        import uuid

        from django.utils import timezone

        from work.models import HeartBeat

        for age in ages:
            HeartBeat.objects.create(id=uuid.uuid4(), sent_at=timezone.now() - timedelta(seconds=age), beat_host=host, worker_host="worker2")

    def test_one_beat(self) -> None:
        from work.beat import beat_state

        self.ticks(3, 18, 33, 48, 63, 78, 93, 108)
        assert beat_state()["ok"] is True

    def test_two_beats_are_noticed(self) -> None:
        from work.beat import beat_state

        self.ticks(3, 18, 33, 48)
        self.ticks(5, 20, 35, 50, host="worker2")
        state = beat_state()
        assert (state["ok"], state["too_close"], state["hosts"]) == (False, 4, ["worker1", "worker2"])

    def test_a_move_to_another_host_is_no_second_beat(self) -> None:
        from work.beat import beat_state

        self.ticks(40, 55, 70)
        self.ticks(8, 23, 38, host="worker2")
        assert beat_state()["ok"] is True

    def test_silence_is_noticed(self, command: Any) -> None:
        from work.beat import beat_state

        assert beat_state()["ok"] is False
        self.ticks(60, 75)
        assert beat_state()["ok"] is False
        with pytest.raises(SystemExit):
            command("beat_status")

    def test_a_tick_that_runs_twice_is_one_tick(self) -> None:
        import uuid

        from work.models import HeartBeat
        from work.tasks import heartbeat

        tick = str(uuid.uuid4())
        for _ in range(2):
            heartbeat.apply(args=["worker1"], task_id=tick).get()
        assert HeartBeat.objects.count() == 1
