#!/usr/bin/python
"""Whether a certificate on this host has to be issued, and why."""

from __future__ import annotations

import datetime
import grp
import hashlib
import ipaddress
import pwd
import stat
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: certificate_state
short_description: Tells whether a certificate is due, and why
description:
  - Compares a certificate, its key and the trusted authorities on the host with what is wanted. Changes nothing.
  - One task answers what would otherwise take six, on every host and for every certificate of every run.
  - A host without the Python library C(cryptography) has no certificate yet, and is told so rather than failed.
options:
  directory: {description: Directory of the files., type: path, required: true}
  name: {description: 'Files are NAME.crt and NAME.key.', type: str, required: true}
  common_name: {description: Common name that the certificate must carry; none where it is empty., type: str, required: true}
  dns: {description: DNS names that it must carry., type: list, elements: str, required: true}
  ip: {description: Addresses that it must carry., type: list, elements: str, required: true}
  owner: {description: Owner of the key., type: str, required: true}
  group: {description: Group of the key., type: str, required: true}
  authority: {description: Certificate of the authority that must have signed it (PEM)., type: str, required: true}
  trust: {description: What ca.crt must hold (PEM)., type: str, required: true}
  renew_days: {description: A certificate with fewer days left is due., type: int, required: true}
author: BMMS platform team
"""

EXAMPLES = r"""
- name: Look at the certificate
  certificate_state:
    directory: /etc/obcms/pki
    name: etcd
    common_name: etcd@redis1
    dns: [redis1, etcd.obcms.internal]
    ip: [198.18.0.31, 127.0.0.1]
    owner: etcd
    group: etcd
    authority: "{{ pki_ca_certificate }}"
    trust: "{{ pki_ca_certificate }}"
    renew_days: 30
"""

RETURN = r"""
due: {description: Whether it has to be issued., returned: always, type: bool}
reason: {description: Why. Empty when it is not due., returned: always, type: str}
library: {description: Whether the host has the Python library., returned: always, type: bool}
directory: {description: Whether the directory is there with the right mode., returned: always, type: bool}
trusted: {description: Whether ca.crt holds what it must., returned: always, type: bool}
told: {description: What NAME.trust must hold: which authorities the service was told., returned: always, type: str}
moved: {description: Whether the service was told of other authorities than ca.crt must hold., returned: always, type: bool}
days_left: {description: Days until the end., returned: when there is a certificate, type: int}
"""


def owned(path: Path, owner: str, group: str, mode: int) -> bool:
    """Whether a file has this owner, group and mode; false as well where the account is not there yet."""
    try:
        found = path.stat()
        return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid, mode)
    except (OSError, KeyError):
        return False


def fault(certificate: Any, authority: Any, wanted: dict[str, Any], now: datetime.datetime) -> str:
    """What is wrong with a certificate; empty when nothing is."""
    from cryptography import x509

    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # a wrong issuer, a wrong signature and a wrong kind of key each raise their own
        return "it is signed by another authority"
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if [n.value for n in names] != [name for name in [wanted["common_name"]] if name]:
        return "its common name is not {}".format(wanted["common_name"] or "empty")
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "it carries no names"
    if set(alternative.get_values_for_type(x509.DNSName)) != set(wanted["dns"]):
        return "its DNS names are not {}".format(", ".join(wanted["dns"]))
    if set(alternative.get_values_for_type(x509.IPAddress)) != {ipaddress.ip_address(a) for a in wanted["ip"]}:
        return "its addresses are not {}".format(", ".join(wanted["ip"]))
    if certificate.not_valid_before_utc > now:
        return f"it is not valid before {certificate.not_valid_before_utc}"
    left = (certificate.not_valid_after_utc - now).days
    return f"{left} days are left, fewer than {wanted['renew_days']}" if left < wanted["renew_days"] else ""


def look(wanted: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """State of one certificate."""
    directory = Path(wanted["directory"])
    path, key_path, trust_path = directory / (wanted["name"] + ".crt"), directory / (wanted["name"] + ".key"), directory / "ca.crt"
    state: dict[str, Any] = {"due": True, "library": True, "reason": ""}
    state["directory"] = owned(directory, "root", "root", 0o755)
    state["trusted"] = owned(trust_path, "root", "root", 0o644) and trust_path.read_text().split() == wanted["trust"].split()
    # ca.crt is shared; whether a service has read it again is remembered beside its own certificate.
    told_path, state["told"] = directory / (wanted["name"] + ".trust"), hashlib.sha256(" ".join(wanted["trust"].split()).encode()).hexdigest()
    told = told_path.read_text().strip() if told_path.exists() else ""
    state["moved"] = told not in ("", state["told"])
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        return {**state, "library": False, "reason": "python3-cryptography is missing"}
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        return {**state, "reason": f"no usable pair of certificate and key: {error}"}
    authority = x509.load_pem_x509_certificate(wanted["authority"].encode())
    state["days_left"] = (certificate.not_valid_after_utc - now).days
    if key.public_key() != certificate.public_key():
        reason = "certificate and key do not belong together"
    elif not (owned(key_path, wanted["owner"], wanted["group"], 0o600) and owned(path, "root", "root", 0o644)):
        reason = "owner or mode of the certificate or its key has changed"
    elif not (state["trusted"] and state["directory"] and told == state["told"]):
        reason = "the trusted authorities have changed"
    else:
        reason = fault(certificate, authority, wanted, now)
    return {**state, "due": bool(reason), "reason": reason}


def main() -> None:
    from ansible.module_utils.basic import AnsibleModule

    texts = {name: {"type": "str", "required": True} for name in ("name", "common_name", "owner", "group", "authority", "trust")}
    lists = {name: {"type": "list", "elements": "str", "required": True} for name in ("dns", "ip")}
    spec = {**texts, **lists, "directory": {"type": "path", "required": True}, "renew_days": {"type": "int", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.exit_json(changed=False, **look(module.params, datetime.datetime.now(datetime.timezone.utc)))


if __name__ == "__main__":
    main()
