"""The reference application in a process of the tests: SQLite in memory, no Redis, no mail server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reference import APPLICATION, DJANGO_MISSING, ENVIRONMENT, PASSWORD, PLATFORM_VARIABLES

if DJANGO_MISSING:
    # test_requirements.py says what to do; the others could not even be imported.
    collect_ignore_glob = ["test_[!r]*.py"]
else:
    import django

    sys.path.insert(0, str(APPLICATION))
    os.environ.update(ENVIRONMENT)
    for name in PLATFORM_VARIABLES:
        os.environ.pop(name, None)
    django.setup()


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    if DJANGO_MISSING:
        yield
        return
    from django.db import connection
    from django.test.utils import setup_test_environment, teardown_test_environment

    setup_test_environment()
    name = connection.creation.create_test_db(verbosity=0)
    yield
    connection.creation.destroy_test_db(name, verbosity=0)
    teardown_test_environment()


@pytest.fixture(autouse=True)
def application(database: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Each test starts from an empty database and an empty cache."""
    if DJANGO_MISSING:
        yield
        return
    from concurrent.futures import Future

    from django.conf import settings
    from django.core import mail
    from django.core.cache import cache
    from django.db import transaction
    from django.test import override_settings

    from obcms import metrics, probes

    def at_once(name: str, question: Callable[[], Any]) -> Future[Any]:
        # A thread would not see the rows of the transaction that the test runs in.
        future: Future[Any] = Future()
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)
        return future

    changed = override_settings(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        STORAGES=settings.STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
        MEDIA_ROOT=tmp_path / "media",
        EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    )
    monkeypatch.setattr(metrics.asker, "begin", at_once)
    monkeypatch.setattr(metrics, "_fleet", metrics.FleetCollector())
    monkeypatch.setattr(probes, "check_cache", lambda: True)
    monkeypatch.setitem(probes.CHECKS, "cache", lambda: True)
    mail.outbox = []
    with changed, transaction.atomic():
        cache.clear()
        yield
        transaction.set_rollback(True)


@pytest.fixture
def client() -> Any:
    from django.test import Client

    return Client(HTTP_X_FORWARDED_PROTO="https")


@pytest.fixture
def member() -> Callable[..., Any]:
    """Makes a user of an organisation that is on board."""
    from accounts.models import Organisation, User

    def make(username: str = "aida", code: str = "MOH", **fields: Any) -> Any:
        organisation, created = Organisation.objects.get_or_create(code=code, defaults={"name": f"Ministry {code}"})
        if created:
            organisation.bring_on_board()
            organisation.save()
        return User.objects.create_user(username, f"{username}@example.org", PASSWORD, organisation=organisation, **fields)

    return make


@pytest.fixture
def signed_in(client: Any, member: Callable[..., Any]) -> Any:
    """A browser in which a user of MOH has logged in."""
    member()
    assert client.login(username="aida", password=PASSWORD)
    return client


@pytest.fixture
def command() -> Callable[..., dict[str, Any]]:
    """Runs a management command with --json and returns its answer."""
    import io
    import json

    from django.core.management import call_command

    def run(name: str, *arguments: str) -> dict[str, Any]:
        out = io.StringIO()
        call_command(name, *arguments, "--json", stdout=out)
        answer: dict[str, Any] = json.loads(out.getvalue())
        return answer

    return run


@pytest.fixture
def user_list(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, header: str = "organisation_code,full_name,email,username,role") -> Path:
        path = tmp_path / "users.csv"
        path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def django_queries() -> Callable[[], Any]:
    """A context in which every query to the database is written down."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)
