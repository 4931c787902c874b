from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from reference import APPLICATION, ENVIRONMENT

from obcms.environment import Environment


def start(**changes: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, **changes}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=APPLICATION, env=environment, capture_output=True, text=True, check=False)


def test_a_right_environment_passes_the_deployment_check() -> None:
    done = start()
    assert done.returncode == 0, done.stderr


def test_all_problems_are_told_at_once() -> None:
    done = start(
        SECRET_KEY="django-insecure-" + "x" * 50,
        ALLOWED_HOSTS="",
        CSRF_TRUSTED_ORIGINS="obcms.example.org",
        REDIS_URL="",
        EMAIL_BACKEND="django.core.mail.backends.console.EmailBackend",
        LOG_LEVEL="LOUD",
        ADMIN_IP_WHITELIST="10.0.0.0/8,home",
        EMAIL_PORT="smtp",
        DEBUG="perhaps",
    )
    assert done.returncode != 0
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "REDIS_URL", "EMAIL_BACKEND", "LOG_LEVEL", "'home'", "EMAIL_PORT", "DEBUG"):
        assert name in done.stderr, name


def test_a_short_key_is_refused_with_its_length() -> None:
    env = Environment({"SECRET_KEY": "x" * 49})
    env.secret_key(debug=False)
    assert env.problems == ["SECRET_KEY has 49 characters; 50 or more are needed"]


def test_a_bad_database_url_is_named_and_its_password_is_not_shown() -> None:
    env = Environment({})
    env.database("DATABASE_URL", "postgres//u:hidden-word@host/name", 60)
    assert len(env.problems) == 1
    assert "DATABASE_URL" in env.problems[0]
    assert "hidden-word" not in env.problems[0]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://obcms_app:p%40ss@%2Frun%2Fpostgresql:6432/obcms", {"HOST": "/run/postgresql", "PORT": 6432, "PASSWORD": "p@ss"}),
        ("postgres://obcms_owner:pw@127.0.0.1:5000/obcms?sslmode=require", {"HOST": "127.0.0.1", "PORT": 5000, "NAME": "obcms"}),
    ],
)
def test_database_urls_of_the_platform(url: str, expected: dict[str, Any]) -> None:
    env = Environment({})
    config = env.database("DATABASE_URL", url, 60)
    assert not env.problems
    assert expected.items() <= config.items()
    assert config["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert config["CONN_HEALTH_CHECKS"] is True
    assert "sslmode=require" not in url or config["OPTIONS"]["sslmode"] == "require"
