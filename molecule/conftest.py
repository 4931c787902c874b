"""What the testinfra scenarios share: the scenario's hosts by name, and an exporter as Prometheus meets it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import testinfra
import yaml
from testinfra.backend.base import CommandResult
from testinfra.host import Host

PROJECT = f"obcms-molecule-{os.environ.get('MOLECULE_SCENARIO_NAME', '')}"


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    """The hosts of the scenario; commands run as root."""
    platforms = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())["platforms"]
    return {each["name"]: testinfra.get_host(f"docker://{PROJECT}-{each['name']}") for each in platforms}


def address(host: Host) -> str:
    """The address that the other hosts know."""
    return str(host.check_output("hostname -I").split()[0])


def wait(question: Callable[[], bool], seconds: float, what: str) -> float:
    """Ask until the answer is yes; the seconds it took. Fails with `what` when it takes longer."""
    begin = time.monotonic()
    while not question():
        assert time.monotonic() - begin < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)
    return time.monotonic() - begin


class ExporterTests:
    """What every exporter promises. A scenario names its host, unit and port, and what the metrics show."""

    host_name: str
    unit: str
    port: int
    # Metric that is 1 while the service beside it answers, and that service.
    up: str
    service: str
    shows: tuple[str, ...] = ()
    # The certificate that Prometheus shows to it.
    asker = "asker"

    @pytest.fixture
    def host(self, hosts: dict[str, Host]) -> Host:
        return hosts[self.host_name]

    def scrape(self, host: Host, certificate: str | None = None) -> CommandResult:
        """Ask on the exporter's own address, with the right certificate, another one of the host's, or none (an empty name)."""
        certificate = self.asker if certificate is None else certificate
        own = f"--cert {certificate}.crt --key {certificate}.key" if certificate else ""
        url = f"https://{address(host)}:{self.port}/metrics"
        return host.run(f"cd /etc/obcms/pki && curl --silent --show-error --fail --max-time 10 --cacert ca.crt {own} {url}")

    def test_prometheus_sees_the_service(self, host: Host) -> None:
        wait(lambda: f"\n{self.up} 1" in self.scrape(host).stdout, 15, f"{self.up} 1")
        metrics = self.scrape(host).stdout
        assert [name for name in self.shows if f"\n{name}" not in metrics] == []

    def test_strangers_see_nothing(self, host: Host) -> None:
        assert self.scrape(host, "").rc in (35, 56)
        assert self.scrape(host, "metrics").rc in (35, 56)

    def test_it_listens_on_one_address(self, host: Host) -> None:
        listening = host.check_output(f"ss -Hltn 'sport = :{self.port}'").splitlines()
        assert [line.split()[3] for line in listening] == [f"{address(host)}:{self.port}"]

    def test_it_does_not_run_as_root(self, host: Host) -> None:
        owner = host.check_output(f"ps -o user:20= -p $(systemctl show -P MainPID {self.unit})").strip()
        assert owner == "prometheus"

    def test_it_starts_again_when_killed(self, host: Host) -> None:
        host.check_output(f"systemctl kill --signal=KILL {self.unit}")
        wait(lambda: self.scrape(host).rc == 0, 20, "answers again")
        assert host.service(self.unit).is_enabled

    def test_it_tells_of_a_service_that_is_gone(self, host: Host) -> None:
        host.check_output(f"systemctl stop {self.service}")
        try:
            wait(lambda: f"\n{self.up} 0" in self.scrape(host).stdout, 20, f"{self.up} 0")
        finally:
            host.check_output(f"systemctl start {self.service}")
        wait(lambda: f"\n{self.up} 1" in self.scrape(host).stdout, 60, f"{self.up} 1 again")
