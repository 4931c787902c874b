"""The walls between organisations, and suspension."""

from __future__ import annotations

from typing import Any

import pytest
from reference import PASSWORD


def record_of(user: Any, title: str) -> Any:
    from work.models import Record

    return Record.objects.create(organisation=user.organisation, created_by=user, title=title)


def test_a_user_sees_its_own_organisation_only(signed_in: Any, member: Any) -> None:
    foreign = record_of(member("ben", "MOLE"), "secret of MOLE")
    signed_in.post("/api/records/", {"title": "ours"})
    listing = signed_in.get("/api/records/").json()
    assert [record["title"] for record in listing["records"]] == ["ours"]
    assert signed_in.get(f"/api/records/{foreign.pk}/").status_code == 404
    assert b"secret of MOLE" not in signed_in.get("/").content


@pytest.mark.parametrize("kind", ["tasks", "upload"])
def test_foreign_tasks_and_files_are_not_found(signed_in: Any, member: Any, kind: str) -> None:
    from work.models import TaskRun, Upload

    user = member("ben", "MOLE")
    if kind == "tasks":
        row = TaskRun.objects.create(organisation=user.organisation)
        path = f"/api/tasks/{row.pk}/"
    else:
        row = Upload.objects.create(organisation=user.organisation, name="x", size=1, sha256="0")
        path = f"/upload/{row.pk}/"
    assert signed_in.get(path).status_code == 404


def test_a_user_without_organisation_sees_nothing(client: Any, member: Any) -> None:
    from accounts.models import User

    record_of(member(), "of MOH")
    User.objects.create_user("root", password=PASSWORD)
    client.login(username="root", password=PASSWORD)
    assert client.get("/api/records/").json()["count"] == 0
    assert client.post("/api/records/", {"title": "x"}).status_code == 403
    assert client.get("/upload/").status_code == 403


def test_suspension_ends_sessions_and_keeps_data(signed_in: Any, command: Any, member: Any) -> None:
    from django.test import Client

    from work.models import Record

    other = Client(HTTP_X_FORWARDED_PROTO="https")
    member("ben", "MOLE")
    other.login(username="ben", password=PASSWORD)
    signed_in.post("/api/records/", {"title": "kept"})

    assert command("suspend_moa", "MOH")["sessions_ended"] == 1
    assert signed_in.get("/").status_code == 302
    assert not Client().login(username="aida", password=PASSWORD)
    assert other.get("/").status_code == 200
    assert command("suspend_moa", "MOH")["changed"] is False

    back = command("onboard_moa", "MOH")
    assert (back["state"], back["changed"]) == ("onboarded", True)
    assert Client().login(username="aida", password=PASSWORD)
    assert Record.objects.filter(title="kept").exists()


def test_a_session_from_before_the_suspension_stays_dead(signed_in: Any, command: Any) -> None:
    from django.contrib.sessions.models import Session

    saved = list(Session.objects.values())
    command("suspend_moa", "MOH")
    command("onboard_moa", "MOH")
    Session.objects.bulk_create(Session(**row) for row in saved)
    assert signed_in.get("/").status_code == 302


def test_a_disabled_user_stays_disabled_when_the_organisation_returns(client: Any, member: Any, command: Any) -> None:
    member(is_active=False)
    command("suspend_moa", "MOH")
    command("onboard_moa", "MOH")
    assert not client.login(username="aida", password=PASSWORD)


def test_suspending_an_unknown_organisation_names_it(command: Any) -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="no organisation XYZ"):
        command("suspend_moa", "XYZ")
