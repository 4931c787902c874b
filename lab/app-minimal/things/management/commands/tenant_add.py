import json

from django.core.management.base import BaseCommand

from things.models import Tenant


class Command(BaseCommand):
    help = "Add a tenant, or enable it again."

    def add_arguments(self, parser):
        parser.add_argument("slug")
        parser.add_argument("--title", required=True)

    def handle(self, *args, **options):
        _, created = Tenant.objects.update_or_create(slug=options["slug"], defaults={"title": options["title"], "enabled": True})
        self.stdout.write(json.dumps({"tenant": options["slug"], "created": created}))
