from __future__ import annotations

from conftest import ExporterTests


class TestRedisExporter(ExporterTests):
    host_name = "redis1"
    unit = "prometheus-redis-exporter.service"
    port = 9121
    up = "redis_up"
    service = "redis-server.service"
    shows = ("redis_memory_used_bytes ", "redis_memory_max_bytes ", "redis_instance_info{", "redis_connected_clients ")
    any_certificate = True
