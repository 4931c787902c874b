from __future__ import annotations

from conftest import ExporterTests, address, wait
from testinfra.host import Host

COUNTS = "/var/lib/prometheus/node-exporter/upstream_errors.prom"


class TestNginxExporter(ExporterTests):
    host_name = "lb1"
    unit = "prometheus-nginx-exporter.service"
    port = 9113
    up = "nginx_up"
    service = "nginx.service"
    shows = ("nginx_connections_active ", "nginx_http_requests_total ")

    def test_failures_behind_nginx_are_counted_by_host_and_kind(self, host: Host) -> None:
        host.check_output("curl --silent --insecure --resolve obcms.lab.internal:443:127.0.0.1 --output /dev/null https://obcms.lab.internal/")
        wait(lambda: 'kind="refused"' in host.run(f"cat {COUNTS}").stdout, 45, "the refused connection is counted")
        assert ':8000",kind="refused"}' in host.check_output(f"grep refused {COUNTS}")
        certificate = "--cacert ca.crt --cert asker.crt --key asker.key"
        metrics = host.check_output(f"cd /etc/obcms/pki && curl --silent --fail {certificate} https://{address(host)}:9100/metrics")
        assert "obcms_upstream_errors_total{" in metrics
