"""Import a list of users into an organisation that is on board."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction

from accounts.models import Organisation
from onboarding.answers import add_delivery_options, add_json_option, delivery_of, give_answer
from onboarding.services import MailResult, OnboardingError, import_users, rows_of, send_welcome_mails
from onboarding.userlist import UserListError, read_user_list


class Command(BaseCommand):
    help = "Import users from a CSV file; those who exist are brought in line, nobody is removed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--organisation", metavar="CODE", required=True)
        add_delivery_options(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code, path = options["organisation"], options["file"]
        password_file = delivery_of(options, needed=True)
        try:
            rows = rows_of(code, read_user_list(path), path)
            with transaction.atomic():
                organisation = Organisation.objects.select_for_update().filter(code=code).first()
                if organisation is None:
                    raise OnboardingError(f"import_users: there is no organisation {code}; onboard_moa creates it")
                users = import_users(organisation, rows, password_file, options["passwords_again"])
        except (OnboardingError, UserListError) as error:
            raise CommandError(str(error)) from error
        except IntegrityError as error:
            # Somebody else wrote the same rows at the same time; this run has changed nothing.
            raise CommandError(f"import_users: {code}: another run was faster, run it again") from error
        mails = send_welcome_mails(organisation, options["mail_again"]) if options["mail"] else MailResult()
        give_answer(
            self,
            options,
            {
                "organisation": code,
                "users": users.as_dict(),
                "mails": mails.as_dict(),
                "changed": bool(users.changed or mails.sent),
                "complete": not mails.missing,
            },
        )
        if mails.missing:
            raise CommandError(f"import_users: mails to users of {code} are missing: {mails.missing}")
