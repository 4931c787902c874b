"""Take an organisation off: nobody of it comes in, open sessions end, its data stay."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from onboarding.answers import add_json_option, give_answer
from onboarding.services import OnboardingError, suspend


class Command(BaseCommand):
    help = "Suspend an organisation; onboard_moa brings it back with everything it had."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            result = suspend(options["code"])
        except OnboardingError as error:
            raise CommandError(str(error)) from error
        give_answer(self, options, result)
