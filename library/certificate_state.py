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
  usage: {description: 'What it must be good for: serverAuth, clientAuth, or both.', type: list, elements: str, required: true}
  trust: {description: 'Files of trusted authorities, by their path below the directory, and what each must hold (PEM).', type: dict, required: true}
  renew_days: {description: A certificate with fewer days left is due., type: int, required: true}
author: the OBCMS platform team
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
    usage: [serverAuth, clientAuth]
    trust: {ca.crt: "{{ pki_ca_certificate }}", authorities/redis.crt: "{{ pki_authorities.redis.certificate }}"}
    renew_days: 30
"""

RETURN = r"""
due: {description: Whether it has to be issued., returned: always, type: bool}
reason: {description: Why. Empty when it is not due., returned: always, type: str}
library: {description: Whether the host has the Python library., returned: always, type: bool}
directory: {description: Whether the directories are there with the right mode., returned: always, type: bool}
trusted: {description: Whether the files of trusted authorities hold what they must., returned: always, type: bool}
told: {description: What NAME.trust must hold: which authorities the service was told., returned: always, type: str}
moved: {description: Whether the service was told of other authorities than the files must hold., returned: always, type: bool}
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
    from cryptography.x509.oid import ExtendedKeyUsageOID

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
    usages = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}
    try:
        usage = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usage = set()
    if usage != {usages[name] for name in wanted["usage"]}:
        return "its usage is not {}".format(", ".join(wanted["usage"]))
    left = (certificate.not_valid_after_utc - now).days
    return f"{left} days are left, fewer than {wanted['renew_days']}" if left < wanted["renew_days"] else ""


def look(wanted: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """State of one certificate."""
    directory = Path(wanted["directory"])
    path, key_path = directory / (wanted["name"] + ".crt"), directory / (wanted["name"] + ".key")
    trust = {directory / name: text.split() for name, text in sorted(wanted["trust"].items())}
    state: dict[str, Any] = {"due": True, "library": True, "reason": ""}
    state["directory"] = all(owned(place, "root", "root", 0o755) for place in {directory, *(file.parent for file in trust)})
    state["trusted"] = all(owned(file, "root", "root", 0o644) and file.read_text().split() == text for file, text in trust.items())
    # These files are shared; whether a service has read it again is remembered beside its own certificate.
    told_path, all_texts = directory / (wanted["name"] + ".trust"), " ".join(word for text in trust.values() for word in text)
    state["told"] = hashlib.sha256(all_texts.encode()).hexdigest()
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

    texts = {name: {"type": "str", "required": True} for name in ("name", "common_name", "owner", "group", "authority")}
    lists = {name: {"type": "list", "elements": "str", "required": True} for name in ("dns", "ip", "usage")}
    others = {name: {"type": kind, "required": True} for name, kind in (("directory", "path"), ("trust", "dict"), ("renew_days", "int"))}
    spec = {**texts, **lists, **others}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.exit_json(changed=False, **look(module.params, datetime.datetime.now(datetime.timezone.utc)))


if __name__ == "__main__":
    main()
