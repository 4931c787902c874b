"""Which database a query goes to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections


class PrimaryOnlyMigrations:
    """Replicas receive their tables by replication, never by a migration."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return None if db == "default" else False

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool | None:
        # Primary and replica hold the same rows.
        return True


def replica_identity() -> dict[str, object]:
    """What the database behind the replica route says about itself."""
    connection = connections[settings.REPLICA_ALIAS]
    if connection.vendor != "postgresql":
        return {
            "alias": settings.REPLICA_ALIAS,
            "vendor": connection.vendor,
            "in_recovery": None,
            "address": None,
        }
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery(), host(inet_server_addr())")
        in_recovery, address = cursor.fetchone()
    return {
        "alias": settings.REPLICA_ALIAS,
        "vendor": "postgresql",
        "in_recovery": in_recovery,
        "address": address,
    }
