"""How management commands answer: one JSON object for programs, one line for people."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


def add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with one JSON object on stdout")


def give_answer(command: BaseCommand, options: dict[str, Any], result: dict[str, Any]) -> None:
    if options["json"]:
        command.stdout.write(json.dumps(result, sort_keys=True))
        return
    command.stdout.write(", ".join(f"{name}: {value}" for name, value in result.items()))


def add_delivery_options(parser: ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--password-file", type=Path, metavar="FILE", help="write one-time passwords there, mode 0600")
    way.add_argument("--mail", action="store_true", help="mail each new user a one-time password")
    parser.add_argument("--mail-again", action="store_true", help="also mail those whose mail was interrupted")
    parser.add_argument("--passwords-again", action="store_true", help="also a new password in the file for those who had one and never came in")


def delivery_of(options: dict[str, Any], needed: bool) -> Path | None:
    """The file for the passwords, or None for mail; a password that reaches nobody is refused."""
    path: Path | None = options["password_file"]
    if needed and path is None and not options["mail"]:
        raise CommandError("passwords must reach the users: give --password-file FILE or --mail")
    if path is not None and not path.parent.is_dir():
        raise CommandError(f"--password-file {path}: there is no directory {path.parent}")
    return path
