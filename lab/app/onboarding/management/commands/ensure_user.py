"""One account with a known password, for a smoke test or a first administrator."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organisation, User
from onboarding.answers import add_json_option, give_answer
from onboarding.services import ensure_account


class Command(BaseCommand):
    help = "Create an account or bring it into the given state; running it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--organisation", metavar="CODE")
        parser.add_argument("--email", default="")
        parser.add_argument("--full-name", default="")
        parser.add_argument("--role", choices=User.Role.values, default=User.Role.STAFF)
        parser.add_argument("--superuser", action="store_true", help="may use the admin pages")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--password-env", metavar="NAME", help="variable with the password")
        source.add_argument("--password-stdin", action="store_true", help="first line of stdin")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        password = self._password(options)
        wanted = {
            "organisation": self._organisation(options["organisation"]),
            "email": options["email"],
            "full_name": options["full_name"],
            "role": options["role"],
            "is_staff": options["superuser"],
            "is_superuser": options["superuser"],
            "is_active": True,
            "must_change_password": False,
        }
        created, changed = ensure_account(options["username"], password, wanted)
        give_answer(
            self,
            options,
            {"username": options["username"], "created": created, "changed": bool(created or changed), "fields": changed},
        )

    @staticmethod
    def _organisation(code: str | None) -> Organisation | None:
        if code is None:
            return None
        found = Organisation.objects.filter(code=code).first()
        if found is None:
            raise CommandError(f"ensure_user: there is no organisation {code}; onboard_moa creates it")
        return found

    @staticmethod
    def _password(options: dict[str, Any]) -> str:
        stdin, variable = options["password_stdin"], options["password_env"]
        password = sys.stdin.readline().rstrip("\n") if stdin else os.environ.get(variable, "")
        if not password:
            raise CommandError("ensure_user: the password is empty")
        return password
