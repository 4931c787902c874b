"""A certificate is good for the name, today and for a while."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bought_certificate import known_roots
from inventory_rules import certificate_problems

SINCE, UNTIL = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2026, 12, 31, tzinfo=datetime.UTC)
SOME_DAY = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def certificate(*names: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(nobody).issuer_name(nobody).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(SINCE).not_valid_after(UNTIL)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (SINCE - datetime.timedelta(seconds=1), ["cert is valid from 2026-01-01 only; check the clock of this machine, or get another"]),
        (SINCE, []),
        (UNTIL - datetime.timedelta(days=30), []),
        (
            UNTIL - datetime.timedelta(days=30) + datetime.timedelta(seconds=1),
            ["cert expires on 2026-12-31, in 29 days, but 30 or more are needed; renew it"],
        ),
        (UNTIL, ["cert expires on 2026-12-31, in 0 days, but 30 or more are needed; renew it"]),
        (UNTIL + datetime.timedelta(seconds=1), ["cert has expired on 2026-12-31; renew it"]),
    ],
)
def test_days(now: datetime.datetime, said: list[str]) -> None:
    assert list(certificate_problems("cert", certificate(), now)) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["bmms.example.org"], []),
        (["*.example.org"], []),
        (["example.org", "bmms.example.org"], []),
        (["*.org"], ["cert is for *.org, but browsers ask for bmms.example.org; get one for bmms.example.org"]),
        (
            ["a.example.org", "b.example.org"],
            ["cert is for a.example.org and b.example.org, but browsers ask for bmms.example.org; get one for bmms.example.org"],
        ),
        ([], ["cert is for no name, but browsers ask for bmms.example.org; get one for bmms.example.org"]),
    ],
)
def test_names(names: list[str], said: list[str]) -> None:
    assert list(certificate_problems("cert", certificate(*names), SOME_DAY, "bmms.example.org")) == said


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_certificate_is_judged_by_another_rule(nothing: str | None) -> None:
    assert list(certificate_problems("cert", nothing, SOME_DAY, "x")) == []


def test_authorities_are_those_of_the_machine_and_the_hosts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: type("Paths", (), {"cafile": None}))
    store = tmp_path / "list.crt"
    old = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    store.write_text("# a list\n" + certificate("a.example.org") + old + certificate("b.example.org"))
    assert len(known_roots([certificate("own.example.org")], [str(tmp_path / "nothing"), str(store)])) == 3


def test_a_machine_without_a_list_judges_no_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: type("Paths", (), {"cafile": None}))
    assert known_roots([certificate("own.example.org")], [str(tmp_path / "nothing")]) == []
