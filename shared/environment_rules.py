"""What a production environment of the application must hold. Used by preflight and by scripts/validate_env.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

# Facts: 50 characters or more; Django documentation, Checks, security.W009 adds: 5 different ones, not its own example.
SECRET_KEY_LENGTH = 50
SECRET_KEY_DIFFERENT = 5
METRICS_TOKEN_LENGTH = 20
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FALSE = ("0", "false", "no", "off")
# Django documentation, E-mail: backends that deliver nothing.
DEAF_MAIL_BACKENDS = ("console", "dummy", "locmem", "filebased")
REQUIRED = (
    "SECRET_KEY",
    "DEBUG",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "CELERY_RESULT_BACKEND",
    "EMAIL_HOST",
    "DEFAULT_FROM_EMAIL",
    "BASE_URL",
    "DJANGO_SETTINGS_MODULE",
)
SCHEMES = {
    "DATABASE_URL": ("postgres", "postgresql"),
    "DATABASE_REPLICA_URL": ("postgres", "postgresql"),
    "REDIS_URL": ("redis", "rediss", "unix"),
    "CELERY_BROKER_URL": ("redis", "rediss"),
    "CELERY_RESULT_BACKEND": ("redis", "rediss"),
}
PLACEHOLDER = re.compile(r"change[-_ ]?me|placeholder|your[-_ ]|example-secret|xxxx|<[^>@]*>|\$\{", re.IGNORECASE)
MAIL_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")


def items(value: str) -> list[str]:
    """Parts of a comma separated value."""
    return [part.strip() for part in value.split(",") if part.strip()]


def secret_key(value: str) -> str | None:
    if len(value) < SECRET_KEY_LENGTH:
        return f"has {len(value)} characters, but {SECRET_KEY_LENGTH} or more are needed; let bin/secrets generate it"
    if value.startswith("django-insecure"):
        return "begins with django-insecure, which Django gives to development projects; let bin/secrets generate it"
    if len(set(value)) < SECRET_KEY_DIFFERENT:
        return f"has {len(set(value))} different characters, but {SECRET_KEY_DIFFERENT} or more are needed; let bin/secrets generate it"
    return None


def debug(value: str) -> str | None:
    if value.lower() in FALSE:
        return None
    return f"is {value!r}, but a public server must not show its errors; set it to 0"


def allowed_hosts(value: str) -> str | None:
    for host in items(value):
        if host == "*":
            return "holds '*', which accepts forged Host headers; list the names of the platform"
        if "/" in host or "://" in host:
            return f"holds {host!r}, but host names have no scheme and no path; write {urlsplit(host).hostname or host.split('/')[0]!r}"
    return None if items(value) else "is empty, but Django then answers every request with 400; list the names of the platform"


def csrf_origins(value: str) -> str | None:
    for origin in items(value):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return f"holds {origin!r}, but origins need a scheme (Django documentation, CSRF_TRUSTED_ORIGINS); write 'https://{origin}'"
        if parts.path not in ("", "/") or parts.query:
            return f"holds {origin!r}, but an origin is scheme and host only; write '{parts.scheme}://{parts.netloc}'"
    return None if items(value) else "is empty, but every form would then answer 403; list the platform's address with https://"


def base_url(value: str) -> str | None:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.netloc:
        return f"is {value!r}, but must be the platform's address with https://; write it like https://obcms.barmm.gov.ph"
    return None


def mail_backend(value: str) -> str | None:
    name = value.lower()
    if any(deaf in name for deaf in DEAF_MAIL_BACKENDS):
        return f"is {value!r}, which delivers no mail; set it to django.core.mail.backends.smtp.EmailBackend"
    return None


def mail_sender(value: str) -> str | None:
    if MAIL_ADDRESS.search(value):
        return None
    return f"is {value!r}, but must hold a mail address; write it like noreply@barmm.gov.ph"


def mail_port(value: str) -> str | None:
    if value.isdigit() and 0 < int(value) < 65536:
        return None
    return f"is {value!r}, but must be a port number; set it to 25, 465 or 587"


def log_level(value: str) -> str | None:
    if value in LOG_LEVELS:
        return None
    return f"is {value!r}, but must be one of {', '.join(LOG_LEVELS)}; set it to INFO"


def metrics_token(value: str) -> str | None:
    if len(value) >= METRICS_TOKEN_LENGTH:
        return None
    return f"has {len(value)} characters, but {METRICS_TOKEN_LENGTH} or more are needed; let bin/secrets generate it"


def admin_networks(value: str) -> str | None:
    for network in items(value):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            return f"holds {network!r}, but must list addresses or networks; write it like 192.0.2.0/24"
    return None


def settings_module(value: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", value):
        return f"is {value!r}, but must be a dotted Python name; write it like obcms.settings"
    if value.rpartition(".")[2] in ("development", "dev", "local", "test"):
        return f"is {value!r}, which is not made for production; name the production settings"
    return None


def service_url(name: str, value: str) -> str | None:
    """URL of a database or cache."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return "cannot be read as a URL; percent-encode special characters of the password"
    if parts.scheme not in SCHEMES[name]:
        return f"has the scheme {parts.scheme!r}, but must have {' or '.join(SCHEMES[name])}; correct the beginning of the URL"
    if parts.scheme != "unix" and not parts.netloc:
        return "names no host; write it like scheme://user:password@host/name"
    return None


RULES: dict[str, Callable[[str], str | None]] = {
    "SECRET_KEY": secret_key,
    "DEBUG": debug,
    "ALLOWED_HOSTS": allowed_hosts,
    "CSRF_TRUSTED_ORIGINS": csrf_origins,
    "EMAIL_BACKEND": mail_backend,
    "EMAIL_PORT": mail_port,
    "DEFAULT_FROM_EMAIL": mail_sender,
    "BASE_URL": base_url,
    "LOG_LEVEL": log_level,
    "METRICS_TOKEN": metrics_token,
    "ADMIN_IP_WHITELIST": admin_networks,
    "DJANGO_SETTINGS_MODULE": settings_module,
    **{name: lambda value, name=name: service_url(name, value) for name in SCHEMES},  # type: ignore[misc]
}
MAY_BE_EMPTY = ("ADMIN_IP_WHITELIST", "DATABASE_REPLICA_URL", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD")


def environment_problems(environment: Mapping[str, str], required: tuple[str, ...] = REQUIRED) -> list[str]:
    """Everything that is wrong, one message per variable. Values of secrets are never repeated."""
    problems = []
    for name in required:
        if name not in environment:
            problems.append(f"{name} is missing; set it")
    for name, value in environment.items():
        if not value and name in MAY_BE_EMPTY:
            continue
        rule = RULES.get(name)
        found = rule(value) if rule else None
        if not found and not value and name in required:
            found = "is empty; set it"
        if not found and (rule or name in required) and PLACEHOLDER.search(value):
            found = "still holds a placeholder; put the real value there"
        if found:
            problems.append(f"{name} {found}")
    return problems
