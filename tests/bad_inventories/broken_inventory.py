"""Turns a case into a real inventory folder that Ansible reads."""

from __future__ import annotations

import copy
import datetime
import functools
import time
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import secrets_file

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.yml"))
GROUPS: dict[str, list[str]] = {
    "lb": ["lb1", "lb2"],
    "app": ["web1", "web2", "web3", "web4"],
    "celery": ["worker1", "worker2"],
    "postgres": ["db1", "db2", "db3"],
    "redis": ["redis1", "redis2", "redis3"],
    "sentinel": ["redis1", "redis2", "redis3"],
    "etcd": ["redis1", "redis2", "redis3"],
    "monitoring": ["mon1"],
    "backup": ["backup1"],
}
NETWORKS = {"lb": 10, "app": 20, "celery": 30, "postgres": 40, "redis": 50, "monitoring": 60, "backup": 70}
ADDRESSES = {host: f"10.40.0.{base + number}" for group, base in NETWORKS.items() for number, host in enumerate(GROUPS[group], 1)}
VARIABLES: dict[str, Any] = {
    "platform_domain": "obcms.barmm.gov.ph",
    "platform_virtual_address": "10.40.0.10",
    "ansible_user": "ops",
    "ansible_ssh_private_key_file": "~/.ssh/id_ed25519",
    "rack_of_the_ministry": "a variable of the team's own is no problem",
}
SURVEY = {"distribution": "debian", "version": "13", "architecture": "x86_64", "systemd": True, "disk_free_gb": 100}
CAPACITY = {"vcpus": 8, "memory_mb": 16384, "disk_gb": 160}


@functools.cache
def secrets() -> dict[str, Any]:
    """Fresh secrets, as bin/secrets makes them."""
    values: dict[str, Any] = {}
    secrets_file.complete(values, "test")
    return values


# Word in a case: name, first and last year of the certificate that takes its place.
CERTIFICATES = {
    "EXPIRED": ("old CA", 2020, 2020),
    "NOT YET VALID": ("next CA", 2099, 2099),
}


@functools.cache
def certificate(name: str, first: int, last: int) -> str:
    """A certificate that is valid from January of one year to December of another."""
    return pem(made(name, name, first, last))


# Of what a bought certificate may consist; the name of each, its issuer, its first and last year.
BOUGHT = {
    "root": ("Test Root", "root", 2020, 2098),
    "middle": ("Test Issuer", "root", 2020, 2098),
    "old middle": ("Test Issuer", "root", 2020, 2021),
    "site": ("obcms.barmm.gov.ph", "middle", 2020, 2098),
    "other site": ("www.example.org", "middle", 2020, 2098),
    "old site": ("obcms.barmm.gov.ph", "middle", 2020, 2021),
    "own site": ("obcms.barmm.gov.ph", "own site", 2020, 2098),
}


@functools.cache
def key_of(name: str) -> ec.EllipticCurvePrivateKey:
    """The key of everybody who has that name."""
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def made(name: str, issuer: str, first: int, last: int) -> x509.Certificate:
    """A certificate of one name, signed by another."""
    subject, signer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(signer).public_key(key_of(name).public_key()).serial_number(1)
    builder = builder.not_valid_before(datetime.datetime(first, 1, 1)).not_valid_after(datetime.datetime(last, 12, 31))
    if " " not in name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=" " in name, path_length=None), critical=True)
    return builder.sign(key_of(issuer), hashes.SHA256())


def pem(found: x509.Certificate) -> str:
    return found.public_bytes(serialization.Encoding.PEM).decode()


def bought(part: str) -> str:
    """One certificate of BOUGHT (PEM)."""
    name, issuer, first, last = BOUGHT[part]
    return pem(made(name, BOUGHT[issuer][0], first, last))


def private_key(part: str, passphrase: str = "") -> str:
    """The key of one of BOUGHT (PEM)."""
    protection = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    key = key_of(BOUGHT[part][0])
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection).decode()


def bought_variables(parts: dict[str, Any]) -> dict[str, Any]:
    """Variables of an inventory with a bought certificate; `chain` and `key` name parts of BOUGHT, texts of their own stay."""
    chain = parts.get("chain", ["site", "middle"])
    key = parts.get("key", "site")
    return {
        "nginx_certificate_source": "bought",
        "nginx_certificate_chain": "".join(bought(part) for part in chain) if isinstance(chain, list) else chain,
        "nginx_certificate_key": private_key(key, parts.get("passphrase", "")) if key in BOUGHT else key,
        "base_ca_certificates": [{"name": "test", "certificate": bought("root")}] if parts.get("trusted", True) else [],
    }


def answer(changes: dict[str, Any] | None, now: float) -> dict[str, Any] | None:
    """What the module host_capacity answers on one host at this moment."""
    if changes is None:
        return None
    changes = dict(changes)
    survey = {**SURVEY, "asked_at": now, "epoch": now + changes.pop("clock", 0), "listeners": [{"port": 22, "owner": "ssh.service"}]}
    capacity = {name: changes.pop(name, value) for name, value in CAPACITY.items()}
    survey.update({name: changes.pop(name) for name in list(changes) if name in survey})
    result = {"changed": False, "ansible_facts": {"host_capacity": capacity, "host_survey": survey}, **changes}
    return {name: value for name, value in result.items() if value is not None}


def merged(base: dict[str, Any], changes: dict[str, Any] | None) -> dict[str, Any]:
    """Changes on top; nothing removes an entry."""
    return {name: value for name, value in {**base, **(changes or {})}.items() if value is not None}


def write_inventory(case: dict[str, Any], folder: Path, now: float | None = None) -> Path:
    """The inventory of one case, whose hosts were measured now."""
    groups = merged(GROUPS, case.get("groups"))
    addresses = merged(ADDRESSES, case.get("addresses"))
    given = bought_variables(case["bought"]) if "bought" in case else {}
    variables = merged({**VARIABLES, **secrets(), **given}, case.get("vars"))
    if variables.get("pki_ca_certificate") in CERTIFICATES:
        variables["pki_ca_certificate"] = certificate(*CERTIFICATES[variables["pki_ca_certificate"]])
    hosts = list(dict.fromkeys(host for members in groups.values() for host in members))
    loose = groups.pop("ungrouped", [])
    tree: dict[str, Any] = {"all": {"children": {group: {"hosts": dict.fromkeys(members, {})} for group, members in groups.items()}}}
    tree["all"]["hosts"] = {host: {"ansible_host": addresses[host]} if host in addresses else {} for host in [*hosts, *loose]}
    (folder / "group_vars").mkdir(parents=True)
    (folder / "host_vars").mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree))
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables))
    measured = case.get("measured", {})
    for host in [*hosts, *loose]:
        own = copy.deepcopy(case.get("host_vars", {}).get(host, {}))
        result = answer(measured.get(host, {}), time.time() if now is None else now)
        if result is not None:
            own["__preflight_measured"] = result
        (folder / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(own))
    return folder
