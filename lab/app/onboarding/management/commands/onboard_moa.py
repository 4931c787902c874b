"""Bring one organisation on board, or back after a suspension."""

from __future__ import annotations

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
        try:
            rows = rows_of(code, read_user_list(path), path) if path else []
            with transaction.atomic():
                organisation, created, fields = ensure_organisation(code, details)
                users = import_users(organisation, rows, password_file)
        except (OnboardingError, UserListError) as error:
            raise CommandError(str(error)) from error
        except IntegrityError as error:
            # Somebody else wrote the same rows at the same time; this run has changed nothing.
            raise CommandError(f"onboard_moa: {code}: another run was faster, run it again") from error
        mails = send_welcome_mails(organisation, options["mail_again"]) if options["mail"] else MailResult()
        complete = not (mails.failed or mails.unconfirmed)
        result = {
            "organisation": code,
            "state": organisation.state,
            "created": created,
            "fields": sorted(fields),
            "users": users.as_dict(),
            "mails": mails.as_dict(),
            "changed": bool(created or fields or users.changed or mails.sent),
            "complete": complete,
        }
        give_answer(self, options, result)
        if not complete:
            raise CommandError(f"onboard_moa: {code} is on board, but mails are missing: run it again, for unconfirmed ones with --mail-again")
