from __future__ import annotations

from conftest import ExporterTests


class TestPgbouncerExporter(ExporterTests):
    host_name = "web1"
    unit = "prometheus-pgbouncer-exporter.service"
    port = 9127
    up = "pgbouncer_up"
    service = "pgbouncer.service"
    shows = ("pgbouncer_databases_pool_size{", "pgbouncer_config_max_client_connections ")
