from __future__ import annotations

from conftest import ExporterTests
from testinfra.host import Host


class TestRedisExporter(ExporterTests):
    host_name = "redis1"
    unit = "prometheus-redis-exporter.service"
    port = 9121
    up = "redis_up"
    service = "redis-server.service"
    shows = ("redis_memory_used_bytes ", "redis_memory_max_bytes ", "redis_instance_info{", "redis_connected_clients ")
    # The exporter checks no names: the authority stands for Prometheus.
    asker = "prometheus-redis_exporter"

    def test_what_other_exporters_take_is_refused(self, host: Host) -> None:
        assert self.scrape(host, "asker").rc in (35, 56)
