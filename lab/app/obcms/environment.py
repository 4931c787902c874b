"""Read the settings from the environment and say everything that is wrong at once.

A start that stops at the first mistake costs an operator one restart per mistake.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import dj_database_url

SECRET_KEY_MIN_LENGTH = 50
CONSOLE_EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})


@dataclass
class Environment:
    """Typed access to environment variables; problems are collected, not raised."""

    values: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def text(self, name: str, default: str = "", required: bool = False) -> str:
        value = self.values.get(name, "").strip()
        if required and not value:
            self.problems.append(f"{name} is not set")
        return value or default

    def flag(self, name: str, default: bool = False) -> bool:
        word = self.values.get(name, "1" if default else "0").strip().lower()
        if word not in TRUE_WORDS | FALSE_WORDS:
            self.problems.append(f"{name} is {word!r}; use 1 or 0")
        return word in TRUE_WORDS

    def number(self, name: str, default: int) -> int:
        value = self.values.get(name, "").strip()
        try:
            return int(value) if value else default
        except ValueError:
            self.problems.append(f"{name} is {value!r}; use a whole number")
            return default

    def words(self, name: str, required: bool = False) -> list[str]:
        items = [item.strip() for item in self.values.get(name, "").split(",")]
        found = [item for item in items if item]
        if required and not found:
            self.problems.append(f"{name} is empty; list at least one value, separated by commas")
        return found

    def secret_key(self, debug: bool) -> str:
        key = self.text("SECRET_KEY", required=not debug)
        if debug:
            return key or "x" * SECRET_KEY_MIN_LENGTH
        if key.startswith("django-insecure"):
            self.problems.append("SECRET_KEY starts with django-insecure; generate a real one")
        elif key and len(key) < SECRET_KEY_MIN_LENGTH:
            self.problems.append(f"SECRET_KEY has {len(key)} characters; {SECRET_KEY_MIN_LENGTH} or more are needed")
        return key

    def origins(self, name: str) -> list[str]:
        found = self.words(name)
        for origin in found:
            if urlsplit(origin).scheme not in {"http", "https"}:
                self.problems.append(f"{name}: {origin!r} has no scheme; write https://{origin}")
        return found

    def networks(self, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        networks = []
        for item in self.words(name):
            try:
                networks.append(ipaddress.ip_network(item, strict=False))
            except ValueError:
                self.problems.append(f"{name}: {item!r} is neither an address nor a network")
        return networks

    def database(self, name: str, url: str, max_age: int) -> dict[str, Any]:
        """Django's settings for one database URL, fit for PgBouncer in transaction mode."""
        try:
            config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=max_age))
        except (ValueError, KeyError) as error:
            # The URL holds a password: the message names the variable only.
            self.problems.append(f"{name} cannot be read ({type(error).__name__}); write postgres://user:password@host:port/name")
            return {"ENGINE": "django.db.backends.dummy"}
        if "postgresql" in config["ENGINE"]:
            config["CONN_HEALTH_CHECKS"] = True
            # A cursor on the server would outlive its transaction, and with it the connection.
            config["DISABLE_SERVER_SIDE_CURSORS"] = True
            config.setdefault("OPTIONS", {}).setdefault("connect_timeout", 10)
        return config

    def email_backend(self, debug: bool) -> str:
        default = CONSOLE_EMAIL_BACKEND if debug else "django.core.mail.backends.smtp.EmailBackend"
        backend = self.text("EMAIL_BACKEND", default)
        if backend == CONSOLE_EMAIL_BACKEND and not debug:
            self.problems.append(
                "EMAIL_BACKEND is the console backend, which writes mails into the log; use django.core.mail.backends.smtp.EmailBackend"
            )
        return backend
