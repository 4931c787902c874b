"""Write the organisations of the pilot wave into the database, planned and not yet on board."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from accounts.models import Organisation
from onboarding.answers import add_json_option, give_answer

PILOT = {
    "MOH": "Ministry of Health",
    "MOLE": "Ministry of Labor and Employment",
    "MAFAR": "Ministry of Agriculture, Fisheries and Agrarian Reform",
}


class Command(BaseCommand):
    help = "Create the three organisations of the pilot; those that exist are left as they are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        created = [code for code, name in PILOT.items() if Organisation.objects.get_or_create(code=code, defaults={"name": name, "wave": 1})[1]]
        give_answer(self, options, {"created": created, "changed": bool(created)})
