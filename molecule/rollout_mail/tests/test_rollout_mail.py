"""The mail as a mail server gets it: a few lines of SMTP on the host keep what arrives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import wait
from testinfra.host import Host

UNIT = "obcms-rollout-mail.service"
SERVER = """
import socketserver

class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 here\\r\\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\\r\\n")
                lines = []
                while (text := self.rfile.readline()) != b".\\r\\n":
                    lines.append(text)
                open("/run/mails", "ab").write(b"".join(lines))
            if word == b"RCPT":
                open("/run/mails", "ab").write(line)
            self.wfile.write(b"221 bye\\r\\n" if word == b"QUIT" else b"250 well\\r\\n")
            if word == b"QUIT":
                return

socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", 2525), Talk).serve_forever()
"""
FIGURES = """
obcms_rollout_moa_state{moa="MOH",wave="1",state="proven"} 1
obcms_rollout_moa_state{moa="OCM",wave="3",state="planned"} 1
obcms_rollout_users_planned{moa="MOH",wave="1"} 30
obcms_rollout_users_planned{moa="OCM",wave="3"} 40
"""


@pytest.fixture
def host(hosts: dict[str, Host]) -> Host:
    return hosts["mon1"]


@pytest.fixture
def mails(host: Host) -> Iterator[str]:
    """File with what the mail server got."""
    host.check_output("rm -f /run/mails; systemd-run --quiet --collect --unit=mails python3 -c %s", SERVER)
    wait(lambda: host.socket("tcp://127.0.0.1:2525").is_listening, 20, "the mail server listens")
    yield "/run/mails"
    host.check_output("systemctl stop mails.service")


def test_the_timer_runs_every_morning_of_the_platform(host: Host) -> None:
    assert host.service("obcms-rollout-mail.timer").is_enabled
    assert host.service("obcms-rollout-mail.timer").is_running
    assert "07:00:00 Asia/Manila" in host.check_output("systemctl show -P TimersCalendar obcms-rollout-mail.timer")


def test_figures_of_prometheus_arrive_at_everybody(host: Host, mails: str) -> None:
    host.check_output("printf %%s %s > /var/lib/prometheus/node-exporter/obcms_rollout.prom", FIGURES)
    wait(lambda: "MOH" in host.run("promq obcms_rollout_moa_state").stdout, 60, "Prometheus knows of it")
    host.check_output(f"systemctl start {UNIT}")
    mail = host.check_output(f"cat {mails}")
    assert "1 of 2 organisations on board" in mail.replace("\r", "").replace("\n ", " ")
    assert "0 of 70 planned" in mail
    assert all(f"<{name}@example.org>" in mail for name in ("team", "head"))


def test_without_prometheus_the_mail_says_so(host: Host, mails: str) -> None:
    host.check_output("systemctl stop prometheus.service")
    try:
        host.check_output(f"systemctl start {UNIT}")
        assert "no figures: Prometheus did not answer" in host.check_output(f"cat {mails}").replace("\r", "").replace("\n ", " ")
    finally:
        host.check_output("systemctl start prometheus.service")


def test_a_mail_that_cannot_be_sent_is_a_failed_unit(host: Host) -> None:
    assert host.run(f"systemctl start {UNIT}").rc != 0
    assert UNIT in host.check_output("systemctl list-units --state=failed --plain --no-legend")
    host.check_output(f"systemctl reset-failed {UNIT}")


def test_its_settings_are_for_its_account_only(host: Host) -> None:
    settings = host.file("/etc/prometheus/rollout-mail.json")
    assert (settings.user, settings.group, settings.mode) == ("root", "prometheus", 0o640)
    host.check_output(f"systemd-analyze security --threshold=30 {UNIT}")
