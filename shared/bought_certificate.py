"""Rules for a certificate that was bought: a chain that browsers can follow, and the key that belongs to it."""

from __future__ import annotations

import datetime
import re
import ssl
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inventory_rules import certificate_problems

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# An alert tells of the end earlier (certificate_days); a run is stopped only when there is hardly time left to buy another.
BOUGHT_DAYS_LEFT = 7
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# Where systems keep the authorities that browsers know (Go's crypto/x509, root_linux.go, looks there as well).
STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def known_roots(own: Sequence[str], stores: Sequence[str] = STORES) -> list[Certificate]:
    """Authorities of this machine, and those that the hosts are told to trust (PEM); none where this machine has no list to judge by."""
    store = next((path for path in (ssl.get_default_verify_paths().cafile, *stores) if path and Path(path).is_file()), None)
    texts = [Path(store).read_text(encoding="utf-8", errors="replace"), *own] if store else []
    return [each for text in texts for each in _readable(text)]


def _readable(text: str) -> Iterator[Certificate]:
    """Certificates of a list, but for those that are older than today's rules."""
    from cryptography import x509  # only here: other rules also run where nothing but the standard library is installed

    for pem in PEM.findall(text):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                yield x509.load_pem_x509_certificate(pem.encode())
            except (ValueError, Warning):
                continue


def bought_problems(chain: Any, key: Any, names: Sequence[str], roots: Sequence[Certificate], now: datetime.datetime) -> Iterator[str]:
    """What is wrong with nginx_certificate_chain and nginx_certificate_key. The key is never shown."""
    if not chain:
        yield "nginx_certificate_source is bought, but nginx_certificate_chain is empty; put the certificate there, with those of its issuer (PEM)"
    if not key:
        yield "nginx_certificate_source is bought, but nginx_certificate_key is empty; put the key into secrets.yml (PEM)"
    if not chain:
        return
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(str(chain).encode())
    except ValueError:
        yield "nginx_certificate_chain is no PEM certificate; put the whole file there, from BEGIN CERTIFICATE to END CERTIFICATE"
        return
    if len(certificates) > 1 and _is_authority(certificates[0]):
        yield f"nginx_certificate_chain begins with {_shown(certificates[0])}, which is an authority; put the certificate of {names[0]} first"
        return
    for name in names:
        yield from certificate_problems("nginx_certificate_chain", str(chain), now, name, BOUGHT_DAYS_LEFT)
    if key:
        yield from _key_problems(str(key), certificates[0])
    yield from _chain_problems(certificates, roots, now)


def _key_problems(pem: str, certificate: Certificate) -> Iterator[str]:
    """The key can be read without a passphrase and is that of the certificate."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):  # the second where it has a passphrase
        yield "nginx_certificate_key is no PEM key without a passphrase; take the passphrase off: nginx starts without people"
        return
    if key.public_key() != certificate.public_key():
        yield f"nginx_certificate_key does not belong to {_shown(certificate)}; put the key there that this certificate was asked for with"


def _chain_problems(certificates: Sequence[Certificate], roots: Sequence[Certificate], now: datetime.datetime) -> Iterator[str]:
    """Each certificate is followed by that of its issuer, up to an authority that browsers know."""
    for number, (lower, upper) in enumerate(zip(certificates, certificates[1:], strict=False), 1):
        if not _issued(lower, upper):
            yield (
                f"nginx_certificate_chain: {_shown(lower)} (number {number}) is followed by {_shown(upper)}, which did not issue it; "
                f"put the certificate of its issuer there, {lower.issuer.rfc4514_string()}"
            )
            return
        if not upper.not_valid_before_utc <= now <= upper.not_valid_after_utc:
            yield f"nginx_certificate_chain: {_shown(upper)} has expired on {upper.not_valid_after_utc:%Y-%m-%d}; get the issuer's present one"
    last = certificates[-1]
    if roots and last not in roots and not any(_issued(last, root) for root in roots):
        yield (
            f"nginx_certificate_chain ends with {_shown(last)}, whose issuer {last.issuer.rfc4514_string()} browsers do not know; append the "
            "certificate of that issuer, or add an authority of your own to base_ca_certificates"
        )


def _issued(lower: Certificate, upper: Certificate) -> bool:
    """Whether the second one signed the first."""
    try:
        lower.verify_directly_issued_by(upper)
    except Exception:  # a wrong issuer, a wrong signature and a wrong kind of key each raise their own
        return False
    return True


def _is_authority(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _shown(certificate: Certificate) -> str:
    """The subject, as people know it."""
    return certificate.subject.rfc4514_string() or "a certificate without a subject"
