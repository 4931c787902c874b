"""The lab's secrets, and certificates made with its authorities' keys: for proofs only."""

from __future__ import annotations

import base64
import datetime
import functools
import ipaddress
import json
import sys
from dataclasses import dataclass
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from report import PROJECT, on

sys.path.insert(0, str(PROJECT / "scripts"))
import secrets_file  # noqa: E402

LAB_SECRETS = PROJECT / "inventories" / "lab" / "group_vars" / "all" / "secrets.yml"


def lab_secrets() -> dict[str, Any]:
    """All secrets of the lab, as they are now."""
    secret = VaultSecret(secrets_file.password_file("lab").read_bytes().strip())
    values: dict[str, Any] = yaml.safe_load(VaultLib([("lab", secret)]).decrypt(LAB_SECRETS.read_bytes()))
    return values


def certificates(host: str) -> dict[str, str]:
    """Certificates of a host's services (PEM), by the names of their files."""
    read = 'import glob, json; print(json.dumps({n: open(n).read() for n in glob.glob("*.crt") if n != "ca.crt"}))'
    found: dict[str, str] = json.loads(on(host, f"cd /etc/obcms/pki && python3 -c '{read}'"))
    return found


@dataclass(frozen=True)
class Pair:
    """A certificate and its key (PEM)."""

    certificate: str
    key: str


@functools.cache
def _authority(name: str = "", own: bool = True) -> tuple[Any, Any]:
    """Key and certificate of one of the platform's authorities (the main one has no name here), or of a stranger that is called the same."""
    secrets = lab_secrets()
    if own:
        each = secrets["pki_authorities"][name] if name else {part: secrets[f"pki_ca_{part}"] for part in ("private_key", "certificate")}
        key, text, passphrase = each["private_key"], each["certificate"], secrets["pki_ca_passphrase"]
    else:
        passphrase = secrets_file.password()
        key, text = secrets_file.certificate_authority("lab", passphrase, secrets_file.AUTHORITIES.get(name, "platform"))
    return serialization.load_pem_private_key(key.encode(), passphrase.encode()), x509.load_pem_x509_certificate(text.encode())


def issuer_of(certificate: Any) -> str | None:
    """Which of the platform's authorities has signed it: a name, empty for the main one, None for none of them."""
    for name in ("", *secrets_file.AUTHORITIES):
        try:
            certificate.verify_directly_issued_by(_authority(name)[1])
        except Exception:  # a wrong issuer, a wrong signature and a wrong kind of key each raise their own
            continue
        return name
    return None


def issue(
    name: str, dns: tuple[str, ...], ip: tuple[str, ...] = (), *, authority: str = "", own: bool = True, days: tuple[float, float] = (-1.0, 1.0)
) -> Pair:
    """A certificate like those of the pki role, valid between these days from now."""
    signer, issuer = _authority(authority, own)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    names = [*(x509.DNSName(each) for each in dns), *(x509.IPAddress(ipaddress.ip_address(each)) for each in ip)]
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(issuer.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    # Python is strict about this one since 3.13.
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(), text.decode())


KINDS = ("right", "another authority", "expired", "another name")


def forged(kind: str, name: str, dns: tuple[str, ...], ip: tuple[str, ...] = (), authority: str = "", by_name: bool = True) -> Pair:
    """The right certificate of a peer, or one that is wrong in one way only. Where the authority stands for the name, another name is one of
    the main authority."""
    if kind == "another name":
        return issue("stranger@nowhere", ("stranger.obcms.internal",), authority=authority if by_name else "")
    days = (-90.0, -1.0) if kind == "expired" else (-1.0, 1.0)
    return issue(name, dns, ip, authority=authority, own=kind != "another authority", days=days)


# Names in the lab's secrets that are no secrets.
PUBLIC = ("pki_ca_certificate", "app_credentials")


def patterns() -> dict[str, list[bytes]]:
    """What to look for, by the name of each generated secret: its value, and the value as basic authentication and YAML lists would carry it."""
    found: dict[str, list[bytes]] = {}
    secrets = lab_secrets()
    secrets |= {f"pki_authorities.{name}": each["private_key"] for name, each in secrets.pop("pki_authorities").items()}
    for name, value in secrets.items():
        if name in PUBLIC:
            continue
        if "\n" in value:
            # Of a key, each full line of its body.
            found[name] = [line.encode() for line in value.splitlines() if len(line) == 64 and "-" not in line]
        else:
            # Base64 of anything that ends with the value: the three ways in which it can be cut.
            shifted = [base64.b64encode(b"x" * shift + value.encode())[4 if shift else 0 : -4] for shift in range(3)]
            found[name] = [value.encode(), *(each for each in shifted if len(each) > 16)]
    return found


def aged(certificate: str, days_left: float) -> str:
    """The same certificate with the same key and names, that many days before the end of its 90 (PEM)."""
    old = x509.load_pem_x509_certificate(certificate.encode())
    signer, issuer = _authority(issuer_of(old) or "")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder().subject_name(old.subject).issuer_name(issuer.subject).public_key(old.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=90 - days_left))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days_left))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
