"""certificate_state: a certificate is due when it is not what is wanted."""

from __future__ import annotations

import datetime
import grp
import hashlib
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "library"), str(PROJECT / "scripts")]
import certificate_state  # noqa: E402
import secrets_file  # noqa: E402

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
KEY, AUTHORITY = secrets_file.certificate_authority("test", "geheim")
REDIS_KEY, REDIS = secrets_file.certificate_authority("test", "geheim", "Redis")
TRUST = {"ca.crt": AUTHORITY, "authorities/redis.crt": REDIS}
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="owners are compared with root")


def told(*texts: str) -> bytes:
    """What NAME.trust holds once the service was told of these."""
    return hashlib.sha256(" ".join(word for text in texts for word in text.split()).encode()).hexdigest().encode()


def put(folder: Path, common_name: str, days: float, signed_by: tuple[str, str] = (KEY, AUTHORITY), usage: tuple[Any, ...] = BOTH) -> None:
    """A certificate of an authority, its key, and what the host trusts."""
    folder.chmod(0o755)
    (folder / "authorities").mkdir(exist_ok=True)
    (folder / "authorities").chmod(0o755)
    key = ec.generate_private_key(ec.SECP256R1())
    signer: Any = serialization.load_pem_private_key(signed_by[0].encode(), b"geheim")
    issuer = x509.load_pem_x509_certificate(signed_by[1].encode())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OBCMS")])
    if common_name:
        subject = x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW - datetime.timedelta(days=90 - days)).not_valid_after(NOW + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("db1")]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content, mode in (
        ("x.crt", builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644),
        ("x.key", text, 0o600),
        *((name, text_of.encode(), 0o644) for name, text_of in TRUST.items()),
        ("x.trust", told(REDIS, AUTHORITY), 0o644),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)


def look(folder: Path, **changes: Any) -> dict[str, Any]:
    owner, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    wanted = {"directory": str(folder), "name": "x", "common_name": "x@db1", "dns": ["db1"], "ip": [], "owner": owner, "group": group}
    usual = {"authority": AUTHORITY, "usage": ["serverAuth", "clientAuth"], "trust": TRUST, "renew_days": 30}
    return certificate_state.look({**wanted, **usual, **changes}, NOW)


def test_as_wanted(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 60)
    assert (look(tmp_path)["due"], look(tmp_path)["reason"]) == (False, "")


def test_day_61_of_90_is_due_and_day_59_is_not(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 29)
    assert "29 days are left, fewer than 30" in look(tmp_path)["reason"]
    put(tmp_path, "x@db1", 31)
    assert not look(tmp_path)["due"]


def test_none_where_none_is_wanted(tmp_path: Path) -> None:
    put(tmp_path, "", 60)
    assert not look(tmp_path, common_name="")["due"]
    assert look(tmp_path)["reason"] == "its common name is not x@db1"
    put(tmp_path, "x@db1", 60)
    assert look(tmp_path, common_name="")["reason"] == "its common name is not empty"


@pytest.mark.parametrize("file", TRUST)
def test_each_service_is_told_of_new_authorities_although_the_shared_file_has_them_already(tmp_path: Path, file: str) -> None:
    put(tmp_path, "x@db1", 60)
    trust = {**TRUST, file: TRUST[file] + secrets_file.certificate_authority("other", "geheim")[1]}
    assert (look(tmp_path, trust=trust)["trusted"], look(tmp_path, trust=trust)["due"]) == (False, True)
    (tmp_path / file).write_text(trust[file])
    found = look(tmp_path, trust=trust)
    assert (found["trusted"], found["moved"], found["reason"]) == (True, True, "the trusted authorities have changed")
    (tmp_path / "x.trust").write_text(found["told"] + "\n")
    assert not look(tmp_path, trust=trust)["due"]
    (tmp_path / "x.trust").unlink()
    assert (look(tmp_path, trust=trust)["due"], look(tmp_path, trust=trust)["moved"]) == (True, False)


def test_other_names_and_other_authorities_are_due(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 60)
    assert "DNS names" in look(tmp_path, dns=["db1", "more"])["reason"]
    other = secrets_file.certificate_authority("other", "geheim")[1]
    assert look(tmp_path, authority=other)["reason"] == "it is signed by another authority"


def test_each_certificate_is_judged_by_the_authority_that_has_to_sign_it(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 60, (REDIS_KEY, REDIS))
    assert not look(tmp_path, authority=REDIS)["due"]
    assert look(tmp_path)["reason"] == "it is signed by another authority"
    put(tmp_path, "x@db1", 60)
    assert look(tmp_path, authority=REDIS)["reason"] == "it is signed by another authority"


def test_another_usage_is_due(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 60, usage=BOTH[1:])
    assert not look(tmp_path, usage=["clientAuth"])["due"]
    assert look(tmp_path)["reason"] == "its usage is not serverAuth, clientAuth"


def test_the_directory_of_authorities_is_for_everybody_to_read(tmp_path: Path) -> None:
    put(tmp_path, "x@db1", 60)
    (tmp_path / "authorities").chmod(0o700)
    assert (look(tmp_path)["directory"], look(tmp_path)["due"]) == (False, True)
