"""Rules that an inventory must keep, whatever the state of its hosts. Every rule returns all it finds."""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from host_share import SERVICES

REQUIRED_GROUPS = ("lb", "app", "celery", "postgres", "redis", "sentinel", "etcd", "monitoring", "backup")
BUILT_IN_GROUPS = ("all", "ungrouped")
# A majority of an even number is no larger than that of the odd number below it: one host more, not one failure more
# (etcd FAQ, "Why an odd number of cluster members?"; Redis documentation, Sentinel: at least three).
ODD_GROUPS = {"sentinel": "Sentinels", "etcd": "etcd members"}
# Hosts with several members need as many watchers for a majority.
SENTINELS_FOR_REPLICAS = 3

# Characters, by secret. RFC 3768 (VRRP): keepalived takes eight.
SECRET_LENGTHS = {
    "postgres_superuser_password": 20,
    "postgres_replication_password": 20,
    "postgres_owner_password": 20,
    "postgres_app_password": 20,
    "postgres_app_b_password": 20,
    "postgres_readonly_password": 20,
    "postgres_monitor_password": 20,
    "postgres_restapi_password": 20,
    "postgres_etcd_password": 20,
    "pgbouncer_admin_password": 20,
    "pgbouncer_stats_password": 20,
    "redis_app_password": 20,
    "redis_app_b_password": 20,
    "redis_sentinel_password": 20,
    "redis_replica_password": 20,
    "redis_exporter_password": 20,
    "redis_check_password": 20,
    "redis_admin_password": 20,
    "app_secret_key": 50,
    "app_metrics_token": 20,
    "grafana_admin_password": 20,
    "backup_cipher_password": 20,
    "smoke_test_password": 20,
    "pki_ca_passphrase": 20,
    "keepalived_password": 8,
    "pki_ca_private_key": 100,
    "pki_ca_certificate": 100,
}
# Authorities besides the main one, as bin/secrets makes them.
AUTHORITIES = ("patroni", "redis", "redis_exporter")
SECRET_DIFFERENT = 5
PLACEHOLDERS = ("changeme", "change_me", "change-me", "password", "placeholder", "example", "django-insecure", "${")
CERTIFICATE_DAYS_LEFT = 30

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
DOMAIN_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
# A name as similar as 'postgres_setings' to 'postgres_settings' is a slip; 'app_media' beside 'app_version' is not.
TYPO_RATIO = 0.9
# Names that people set for Ansible itself (Ansible documentation, "Connecting to hosts: behavioral inventory parameters").
ANSIBLE_NAMES = frozenset(
    f"ansible_{name}"
    for name in (
        "host port user password connection become become_user become_method become_password become_pass become_exe python_interpreter shell_type "
        "ssh_private_key_file private_key_file ssh_common_args ssh_extra_args ssh_args ssh_pass ssh_user ssh_host ssh_port ssh_executable "
        "ssh_timeout ssh_transfer_method ssh_pipelining pipelining host_key_checking timeout remote_tmp"
    ).split()
)


def listed(names: Collection[str]) -> str:
    """'db1, db2 and db3'."""
    ordered = list(names)
    return " and ".join([part for part in (", ".join(ordered[:-1]), *ordered[-1:]) if part])


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that a person probably meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=TYPO_RATIO)), None)


def group_problems(groups: Mapping[str, Sequence[str]], extra_groups: Collection[str] = ()) -> Iterator[str]:
    """Required groups have hosts, others are known, every host is in one."""
    allowed = {*REQUIRED_GROUPS, *BUILT_IN_GROUPS, *extra_groups}
    for name in groups:
        if name not in allowed:
            meant = next(iter(difflib.get_close_matches(name, REQUIRED_GROUPS, n=1, cutoff=0.5)), None)
            hint = f"rename it to {meant}" if meant else "remove it"
            yield (
                f"group {name} is unknown, but roles go by the groups {', '.join(REQUIRED_GROUPS)}; "
                f"{hint}, or list it in preflight_extra_groups if it only groups hosts for people"
            )
    for name in REQUIRED_GROUPS:
        if not groups.get(name):
            yield f"group {name} has no host, but the platform needs at least one; add a host to {name} in hosts.yml"
    placed = {host for name in REQUIRED_GROUPS for host in groups.get(name, ())}
    for host in groups.get("all", ()):
        if host not in placed:
            yield f"host {host} is in no group that runs something; add it to one of {', '.join(REQUIRED_GROUPS)}, or remove it"


def quorum_problems(groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Majorities need odd numbers."""
    for name, what in ODD_GROUPS.items():
        count = len(groups.get(name) or ())
        if count and count % 2 == 0:
            yield (f"group {name} has {count} hosts ({listed(groups[name])}), but {what} vote and need an odd number; use {count - 1} or {count + 1}")
    caches, watchers = len(groups.get("redis") or ()), len(groups.get("sentinel") or ())
    if caches > 1 and watchers == 1:
        yield (
            f"group sentinel has one host for {caches} Redis hosts, but a failover needs the votes of two; "
            f"add Sentinels until there are {SENTINELS_FOR_REPLICAS}"
        )


def address_problems(addresses: Mapping[str, Any]) -> Iterator[str]:
    """Every host has an address of its own, and it is an address, not a name."""
    owners: dict[str, list[str]] = {}
    for host, value in addresses.items():
        if not HOST_NAME.fullmatch(host):
            yield f"host {host!r} is no host name (lower-case letters, digits and hyphens), but certificates carry it; rename it in hosts.yml"
        if value in (None, ""):
            yield f"host {host} has no address; give it one in hosts.yml, like ansible_host: 192.0.2.10"
            continue
        try:
            address = ipaddress.ip_address(str(value))
        except ValueError:
            yield f"host {host} has ansible_host {value!r}, but services are configured by IP address; write its address there"
            continue
        if address.is_unspecified or address.is_multicast or address.is_loopback:
            yield f"host {host} has ansible_host {value}, which other hosts cannot reach; write the address of its network interface there"
        owners.setdefault(str(address), []).append(host)
    for address_text, hosts in owners.items():
        if len(hosts) > 1:
            yield f"hosts {listed(hosts)} have the same address {address_text}; give each its own in hosts.yml"


def virtual_address_problems(value: Any, addresses: Mapping[str, Any], balancers: Sequence[str]) -> Iterator[str]:
    """The address that moves between balancers belongs to nobody else."""
    if value in (None, ""):
        if len(balancers) > 1:
            yield (
                f"platform_virtual_address is not set, but {listed(balancers)} share one address; "
                "set it to a free address of their network in the inventory's group_vars/all"
            )
        return
    try:
        address = ipaddress.ip_address(str(value).split("/")[0])
    except ValueError:
        yield f"platform_virtual_address is {value!r}, but must be an IP address; write one of the balancers' network"
        return
    for host, own in addresses.items():
        if str(own) == str(address):
            yield f"platform_virtual_address {value} is the address of {host}, but must be free; choose another of the balancers' network"


def domain_problems(domain: Any, public_url: Any) -> Iterator[str]:
    """The name that certificates and browsers use."""
    if not isinstance(domain, str) or not DOMAIN_NAME.fullmatch(domain):
        yield f"platform_domain is {domain!r}, but must be a domain name; write it like obcms.barmm.gov.ph"
    elif isinstance(public_url, str) and domain not in public_url:
        yield f"platform_public_url is {public_url!r}, but the certificate is for {domain}; write https://{domain}"


def secret_problems(secrets: Mapping[str, Any]) -> Iterator[str]:
    """All secrets are there, strong, and different. No value is ever shown."""
    owners: dict[str, list[str]] = {}
    for name, length in SECRET_LENGTHS.items():
        value = secrets.get(name)
        if value in (None, ""):
            yield f"secret {name} is missing; run bin/secrets INVENTORY, which generates what lacks"
            continue
        if not isinstance(value, str):
            yield f"secret {name} is no text; put quotes around it in secrets.yml"
            continue
        if len(value) < length:
            yield f"secret {name} has {len(value)} characters, but {length} or more are needed; remove it and run bin/secrets INVENTORY"
        elif any(word in value.lower() for word in PLACEHOLDERS):
            yield f"secret {name} still holds a placeholder; remove it and run bin/secrets INVENTORY"
        elif len(set(value)) < SECRET_DIFFERENT:
            yield f"secret {name} has {len(set(value))} different characters; remove it and run bin/secrets INVENTORY"
        owners.setdefault(value, []).append(name)
    for names in owners.values():
        if len(names) > 1:
            yield f"secrets {listed(names)} have the same value; remove all but one and run bin/secrets INVENTORY"


def authority_problems(authorities: Any, now: datetime.datetime) -> Iterator[str]:
    """Each authority has a certificate that is valid, and a key."""
    found = authorities if isinstance(authorities, Mapping) else {}
    whole = {name: each for name, each in found.items() if isinstance(each, Mapping) and each.get("certificate") and each.get("private_key")}
    missing = [name for name in AUTHORITIES if name not in whole]
    if missing:
        yield f"secret pki_authorities ({listed(missing)}) is missing; run bin/secrets INVENTORY, which generates what lacks"
    for name, each in whole.items():
        yield from certificate_problems(f"pki_authorities.{name}", each["certificate"], now)


def certificate_problems(
    what: str, pem: Any, now: datetime.datetime, name: str | None = None, days_left: int = CERTIFICATE_DAYS_LEFT
) -> Iterator[str]:
    """A certificate can be read, is valid today and for a while, and is for the name that clients use."""
    from cryptography import x509  # only here: the rules above also run where nothing but the standard library is installed

    if pem in (None, ""):
        return
    try:
        certificate = x509.load_pem_x509_certificate(str(pem).encode())
    except ValueError:
        yield f"{what} is no PEM certificate; put the whole file there, from BEGIN CERTIFICATE to END CERTIFICATE"
        return
    until, since = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now < since:
        yield f"{what} is valid from {since:%Y-%m-%d} only; check the clock of this machine, or get another"
    elif now > until:
        yield f"{what} has expired on {until:%Y-%m-%d}; renew it"
    elif (until - now).days < days_left:
        yield f"{what} expires on {until:%Y-%m-%d}, in {(until - now).days} days, but {days_left} or more are needed; renew it"
    if name:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            names = []
        if not any(name == each or (each.startswith("*.") and name.partition(".")[2] == each[2:]) for each in names):
            yield f"{what} is for {listed(names) or 'no name'}, but browsers ask for {name}; get one for {name}"


def typo_problems(variables: Mapping[str, Collection[str]], known: Collection[str]) -> Iterator[str]:
    """Variables that nothing reads and that look like one that is read. `variables`: name to the hosts that have it."""
    for name, hosts in sorted(variables.items()):
        if name in known or name in ANSIBLE_NAMES or name.startswith("_"):
            continue
        meant = closest(name, ANSIBLE_NAMES if name.startswith("ansible_") else known)
        if meant:
            where = "" if len(hosts) > 1 else f" of {listed(hosts)}"
            yield f"variable {name}{where} is read by nothing, but looks like {meant}; rename it"


def setting_problems(name: str, settings: Any, known: Collection[str]) -> Iterator[str]:
    """Keys of one dict of overrides, such as postgres_settings."""
    if not isinstance(settings, Mapping):
        yield f"{name} is {settings!r}, but must be a dict of settings; write it like {name}: {{{sorted(known)[0]}: ...}}"
        return
    for key in settings:
        meant = None if key in known else closest(str(key), known)
        if meant:
            yield f"{name}.{key} looks like {meant}; rename it"


def services_of(host: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Services of a host, as host_services gives them."""
    return sorted(name for name in SERVICES if host in (groups.get(name) or ()))
