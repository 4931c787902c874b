"""Where the reference application is, and the environment that the tests run it in."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
APPLICATION = PROJECT / "lab" / "app"

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "obcms.settings",
    "SECRET_KEY": "tests-" + "0123456789" * 5,
    "ALLOWED_HOSTS": "testserver",
    "DATABASE_URL": "sqlite://:memory:",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_URL": "memory://",
    "CELERY_RESULT_BACKEND": "cache+memory://",
    "DEFAULT_FROM_EMAIL": "obcms@example.org",
    "BASE_URL": "https://obcms.example.org",
    "METRICS_TOKEN": "metrics-token",
    "ADMIN_IP_WHITELIST": "192.0.2.0/24",
    "LOG_LEVEL": "CRITICAL",
}
PLATFORM_VARIABLES = ("DEBUG", "APP_VERSION", "DATABASE_REPLICA_URL", "PROMETHEUS_MULTIPROC_DIR", "EMAIL_BACKEND")
PASSWORD = "correct-horse-battery"
DJANGO_MISSING = find_spec("django") is None
