#!/usr/bin/env python3
"""Generate the secrets that an inventory lacks, encrypted by ansible-vault.

Usage: secrets_file.py INVENTORY [--rotate app|NAME]
Writes INVENTORY/group_vars/all/secrets.yml. Values that are there are kept, missing ones are added, nothing is printed
but names. The vault password is read from the file that bin/vault-client finds for the inventory's name; where there is
none it is generated there first. --rotate NAME makes a new value for one password; --rotate app gives the application's other
accounts at database and cache new passwords and makes them the ones in use, so that no password in use changes. The next run
of site.yml applies it. Exit status 2 on bad input.
"""

from __future__ import annotations

import datetime
import os
import secrets
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROJECT = Path(__file__).resolve().parent.parent
ALPHABET = string.ascii_letters + string.digits
# 40 letters and digits carry 238 bits; no character needs quoting in a URL, a shell or a configuration file.
PASSWORD_LENGTH = 40
# VRRP (RFC 2338) carries eight octets of password.
KEEPALIVED_LENGTH = 8
CA_YEARS = 10

PASSWORDS = (
    "postgres_superuser_password",
    "postgres_replication_password",
    "postgres_owner_password",
    "postgres_app_password",
    "postgres_app_b_password",
    "postgres_readonly_password",
    "postgres_monitor_password",
    "postgres_restapi_password",
    "postgres_etcd_password",
    "pgbouncer_admin_password",
    "pgbouncer_stats_password",
    "redis_app_password",
    "redis_app_b_password",
    "redis_sentinel_password",
    "redis_replica_password",
    "redis_exporter_password",
    "redis_check_password",
    "redis_admin_password",
    "app_metrics_token",
    "grafana_admin_password",
    "backup_cipher_password",
    "smoke_test_password",
    "pki_ca_passphrase",
)
# Authorities besides the main one, each with what it is for: where a program cannot look at a peer's name, the authority stands for the name.
AUTHORITIES = {"patroni": "Patroni clients", "redis": "Redis", "redis_exporter": "Redis exporter clients"}


def password(length: int = PASSWORD_LENGTH) -> str:
    """Random letters and digits from the system's generator."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def certificate_authority(name: str, passphrase: str, purpose: str = "platform") -> tuple[str, str]:
    """A private CA: (encrypted PKCS#8 key, certificate), both PEM; P-256, ten years, for leaf certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {purpose} CA")])
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(passphrase.encode())
    )
    return encrypted.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def complete(values: dict[str, Any], name: str) -> list[str]:
    """Add what is missing to `values`; the names added."""
    makers: dict[str, Callable[[], str]] = dict.fromkeys(PASSWORDS, password)
    makers["keepalived_password"] = lambda: password(KEEPALIVED_LENGTH)
    makers["app_secret_key"] = lambda: password(64)
    added = [key for key in makers if not values.get(key)]
    values.update({key: makers[key]() for key in added})
    if not (values.get("pki_ca_private_key") and values.get("pki_ca_certificate")):
        values["pki_ca_private_key"], values["pki_ca_certificate"] = certificate_authority(name, values["pki_ca_passphrase"])
        added += ["pki_ca_private_key", "pki_ca_certificate"]
    authorities = values["pki_authorities"] = dict(values.get("pki_authorities") or {})
    for each, purpose in AUTHORITIES.items():
        if not (authorities.get(each, {}).get("private_key") and authorities[each].get("certificate")):
            key, certificate = certificate_authority(name, values["pki_ca_passphrase"], purpose)
            authorities[each] = {**authorities.get(each, {}), "private_key": key, "certificate": certificate}
            added.append(f"pki_authorities.{each}")
    return added


# The application's two accounts: what is made anew when each of them becomes the one in use.
APP_PASSWORDS = {"a": ("postgres_app_password", "redis_app_password"), "b": ("postgres_app_b_password", "redis_app_b_password")}


def rotate(values: dict[str, Any], what: str) -> list[str]:
    """Make new what is asked for; the names changed. KeyError when it is no password that a run can change."""
    if what == "app":
        values["app_credentials"] = "b" if values.get("app_credentials", "a") == "a" else "a"
        names: tuple[str, ...] = APP_PASSWORDS[values["app_credentials"]]
    else:
        names = (what,)
    # The passphrase belongs to a key that is encrypted with it, and backups are read with the password they were made with.
    if unknown := [name for name in names if name not in PASSWORDS or name in ("pki_ca_passphrase", "backup_cipher_password")]:
        raise KeyError(unknown[0])
    values.update({name: password() for name in names})
    return [*names, *(["app_credentials"] if what == "app" else [])]


def password_file(name: str) -> Path:
    """File with the vault password of inventory `name`, generated where there is none."""
    personal = Path.home() / ".config" / "obcms" / f"vault-{name}"
    in_tree = PROJECT / ".lab" / f"vault-{name}"
    named = os.environ.get(f"VAULT_PASSWORD_FILE_{name}")
    candidates = [Path(named)] if named else [in_tree, personal]
    for path in candidates:
        if path.is_file():
            return path
    path = candidates[0] if named or name == "lab" else personal
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, password() + "\n")
    print(f"secrets: vault password generated in {path}; keep a copy where the team finds it")
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    scratch.replace(path)


def main(argv: list[str]) -> int:
    if len(argv) not in (2, 4) or not Path(argv[1]).is_dir() or argv[2:3] not in ([], ["--rotate"]):
        print("secrets: usage: bin/secrets INVENTORY [--rotate app|NAME]; INVENTORY is a directory such as inventories/prod", file=sys.stderr)
        return 2
    inventory = Path(argv[1]).resolve()
    # Where it is a link, the file that it leads to is written, not the link.
    target = (inventory / "group_vars" / "all" / "secrets.yml").resolve()
    secret = VaultSecret(password_file(inventory.name).read_bytes().strip())
    vault = VaultLib([(inventory.name, secret)])
    values: dict[str, Any] = {}
    if target.exists():
        try:
            values = yaml.safe_load(vault.decrypt(target.read_bytes())) or {}
        except AnsibleVaultError as error:
            print(f"secrets: {target} cannot be decrypted with the password of `{inventory.name}`: {error}", file=sys.stderr)
            return 2
    added = complete(values, inventory.name)
    try:
        added += rotate(values, argv[3]) if argv[3:] else []
    except KeyError as unknown:
        print(f"secrets: {unknown} is no password that can be changed; allowed are app, {', '.join(sorted(PASSWORDS))}", file=sys.stderr)
        return 2
    if not added:
        print(f"secrets: {argv[1]}: nothing is missing")
        return 0
    text = "---\n" + yaml.safe_dump(values, sort_keys=True, default_style='"', width=4096)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_private(target, vault.encrypt(text, secret=secret, vault_id=inventory.name).decode())
    print(f"secrets: {argv[1]}: generated {', '.join(sorted(added))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
