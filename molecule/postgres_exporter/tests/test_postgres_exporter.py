from __future__ import annotations

from conftest import ExporterTests


class TestPostgresExporter(ExporterTests):
    host_name = "db1"
    unit = "prometheus-postgres-exporter.service"
    port = 9187
    up = "pg_up"
    service = "patroni.service"
    shows = ("pg_stat_activity_count{", "pg_settings_max_connections{", "pg_database_size_bytes{", "pg_replication_is_replica ")
