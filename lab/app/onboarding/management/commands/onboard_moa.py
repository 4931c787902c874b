"""Bring one organisation on board, or back after a suspension."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction

from accounts.models import Organisation
from onboarding.answers import add_delivery_options, add_json_option, delivery_of, give_answer
from onboarding.services import (
    ImportResult,
    MailResult,
    OnboardingError,
    ensure_organisation,
    ensure_service_account,
    import_users,
    rows_of,
    send_welcome_mails,
)
from onboarding.userlist import UserListError, read_user_list


class Command(BaseCommand):
    help = "Create or reactivate an organisation and import its users; running it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code", help="code of the organisation, for example MOH")
        parser.add_argument("--name", help="full name; needed for a new organisation")
        parser.add_argument("--type", choices=Organisation.Type.values)
        parser.add_argument("--wave", type=int, help="number of the wave, shown in metrics and status")
        parser.add_argument("--modules", help="modules of the organisation, separated by commas")
        parser.add_argument("--users", type=Path, metavar="FILE", help="CSV; rows of other organisations are left out")
        parser.add_argument("--service-user", metavar="NAME", help="account of the platform with which the organisation is proven by a login")
        parser.add_argument("--service-passwords", type=Path, metavar="FILE", help="JSON object, name to password")
        add_delivery_options(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code, path = options["code"], options["users"]
        password_file = delivery_of(options, needed=path is not None)
        modules = options["modules"]
        details = {
            "name": options["name"],
            "type": options["type"],
            "wave": options["wave"],
            "modules": None if modules is None else [word for word in modules.split(",") if word],
        }
        users = ImportResult()
        password = self._service_password(options["service_user"], options["service_passwords"])
        try:
            rows = rows_of(code, read_user_list(path), path) if path else []
            with transaction.atomic():
                organisation, created, fields = ensure_organisation(code, details)
                users = import_users(organisation, rows, password_file, options["passwords_again"])
        except (OnboardingError, UserListError) as error:
            raise CommandError(str(error)) from error
        except IntegrityError as error:
            # Somebody else wrote the same rows at the same time; this run has changed nothing.
            raise CommandError(f"onboard_moa: {code}: another run was faster, run it again") from error
        proof_changed = bool(password) and ensure_service_account(options["service_user"], password, organisation)
        mails = send_welcome_mails(organisation, options["mail_again"]) if options["mail"] else MailResult()
        result = {
            "organisation": code,
            "state": organisation.state,
            "created": created,
            "fields": sorted(fields),
            "users": users.as_dict(),
            "mails": mails.as_dict(),
            "changed": bool(created or fields or users.changed or mails.sent or proof_changed),
            "complete": not mails.missing,
        }
        give_answer(self, options, result)
        if mails.missing:
            raise CommandError(f"onboard_moa: {code} is on board, but mails are missing: {mails.missing}")

    @staticmethod
    def _service_password(username: str | None, path: Path | None) -> str:
        if username is None:
            return ""
        if path is None:
            raise CommandError("onboard_moa: --service-user needs --service-passwords FILE")
        try:
            password = json.loads(path.read_text(encoding="utf-8")).get(username)
        except (OSError, ValueError) as error:
            raise CommandError(f"onboard_moa: --service-passwords {path}: {error}") from error
        if not password:
            raise CommandError(f"onboard_moa: --service-passwords {path}: has no password for {username}")
        return str(password)
