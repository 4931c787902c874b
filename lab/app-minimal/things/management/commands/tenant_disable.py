import json

from django.core.management.base import BaseCommand, CommandError

from things.models import Tenant


class Command(BaseCommand):
    help = "Disable a tenant; its data stay."

    def add_arguments(self, parser):
        parser.add_argument("slug")

    def handle(self, *args, **options):
        if not Tenant.objects.filter(slug=options["slug"]).update(enabled=False):
            raise CommandError(f"tenant_disable: there is no tenant {options['slug']}")
        self.stdout.write(json.dumps({"tenant": options["slug"], "enabled": False}))
