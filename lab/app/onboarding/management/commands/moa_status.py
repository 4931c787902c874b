"""Where organisations stand, for people and for playbooks."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from accounts.models import Organisation, User
from onboarding.answers import add_json_option, give_answer
from work.models import Record


class Command(BaseCommand):
    help = "Show the state of one organisation or of all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code", nargs="?")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = Organisation.objects.with_counts()
        if options["code"]:
            found = found.filter(code=options["code"])
        rows = [status_of(organisation) for organisation in found]
        if options["code"] and not rows:
            rows = [{"code": options["code"], "state": "absent"}]
        if options["json"]:
            states = Counter(row["state"] for row in rows)
            users = sum(row.get("users", 0) for row in rows)
            give_answer(self, options, {"organisations": rows, "states": dict(states), "users": users})
            return
        self.stdout.write(f"{'code':<10} {'wave':>4} {'state':<10} {'users':>5} {'logged in':>9}  name")
        for row in rows:
            self.stdout.write(
                f"{row['code']:<10} {row.get('wave') or '-':>4} {row['state']:<10} {row.get('users', 0):>5} "
                f"{row.get('users_logged_in', 0):>9}  {row.get('name', '')}"
            )


def status_of(organisation: Organisation) -> dict[str, Any]:
    people = organisation.users.exclude(role=User.Role.SERVICE)
    records = Record.objects.filter(organisation=organisation)
    return {
        "code": organisation.code,
        "name": organisation.name,
        "type": organisation.type,
        "wave": organisation.wave,
        "modules": organisation.modules,
        "state": organisation.state,
        "onboarded_at": iso(organisation.onboarded_at),
        "suspended_at": iso(organisation.suspended_at),
        "users": organisation.user_count,
        "users_logged_in": organisation.logged_in_count,
        "users_enabled": people.filter(is_active=True).count(),
        "welcome_mails": dict(Counter(people.values_list("welcome_mail", flat=True))),
        "records": records.count(),
        "newest_record": records.values_list("pk", flat=True).first(),
    }


def iso(moment: Any) -> str | None:
    return moment.isoformat() if moment else None
