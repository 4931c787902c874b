"""Each balancer has a certificate of the issuer, which asked lb2 only, and shows the next one by itself."""

from __future__ import annotations

import pytest
from conftest import address, wait
from testinfra.host import Host

DOMAIN = "obcms.lab.internal"
BALANCERS = ("lb1", "lb2")


@pytest.fixture(params=BALANCERS)
def balancer(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


def serial(balancer: Host) -> str:
    """Number of the certificate that is shown."""
    shown = f"openssl s_client -connect {address(balancer)}:443 -servername {DOMAIN} </dev/null 2>/dev/null"
    return str(balancer.check_output(f"{shown} | openssl x509 -noout -serial"))


def test_a_browser_that_knows_the_issuer_only_is_content(balancer: Host, hosts: dict[str, Host]) -> None:
    root = hosts["issuer"].check_output("curl --silent --fail --insecure https://127.0.0.1:15000/roots/0")
    balancer.check_output("printf '%s\n' '" + root + "' >/run/issuer.pem")
    ask = f"curl --silent --output /dev/null --connect-to ::{address(balancer)}: https://{DOMAIN}/"
    assert balancer.run(f"{ask} --cacert /run/issuer.pem").rc == 0
    assert balancer.run(f"{ask} --cacert /etc/obcms/pki/ca.crt").rc == 60


def test_the_next_certificate_is_shown_by_itself(balancer: Host) -> None:
    assert balancer.check_output("systemctl is-active certbot.timer") == "active"
    before = serial(balancer)
    balancer.check_output("certbot renew --quiet --force-renewal --no-random-sleep-on-renew")
    wait(lambda: serial(balancer) not in ("", before), 5, "the renewed certificate is shown")


def test_nobody_waits_for_an_unknown_challenge(balancer: Host) -> None:
    url = f"http://{DOMAIN}/.well-known/acme-challenge/nobody"
    assert balancer.check_output(f"curl --silent --output /dev/null --write-out %{{http_code}} --connect-to ::{address(balancer)}: {url}") == "404"
