"""Whether the beat beats, and whether it is one: asked from the rows its task writes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from onboarding.answers import add_json_option, give_answer
from work.beat import BEAT_WINDOW_SECONDS, beat_state


class Command(BaseCommand):
    help = "Show the ticks of the last minutes; exit status 1 unless exactly one beat runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=int, default=BEAT_WINDOW_SECONDS)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        state = beat_state(options["seconds"])
        give_answer(self, options, state)
        if not state["ok"]:
            raise SystemExit(1)
