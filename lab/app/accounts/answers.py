"""How management commands answer: one JSON object for programs, one line for people."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


def add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with one JSON object on stdout")


def give_answer(command: BaseCommand, options: dict[str, Any], result: dict[str, Any]) -> None:
    if options["json"]:
        command.stdout.write(json.dumps(result, sort_keys=True))
        return
    command.stdout.write(", ".join(f"{name}: {value}" for name, value in result.items()))
