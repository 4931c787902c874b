"""Take organisations off: nobody of them comes in, open sessions end, their data stay."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from onboarding.answers import add_json_option, give_answer
from onboarding.services import OnboardingError, suspend


class Command(BaseCommand):
    help = "Suspend organisations; onboard_moa brings one back with everything it had."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code", nargs="+", help="one failing does not keep the others in")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        results = [self._suspend(code) for code in options["code"]]
        if len(results) == 1 and "error" not in results[0]:
            give_answer(self, options, results[0])
        else:
            give_answer(self, options, {"organisations": results})
        errors = [result["error"] for result in results if "error" in result]
        if errors:
            raise CommandError("; ".join(errors))

    @staticmethod
    def _suspend(code: str) -> dict[str, Any]:
        try:
            return {"code": code, **suspend(code)}
        except (OnboardingError, DatabaseError) as error:
            return {"code": code, "changed": False, "error": str(error)}
