"""Filter trust_files: the files of authorities that a host's services check peers against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: trust_files
short_description: Files of trusted authorities, and what each holds
description:
  - The main authority's file is C(ca.crt), each other one's is C(authorities/NAME.crt).
  - While an authority is replaced, its file holds the former or the next one as well.
positional: _input
options:
  _input:
    description: Authorities by name, each with its C(certificate) and, while it is replaced, C(former), others (PEM).
    type: dict
    required: true
  certificate:
    description: Certificate of the main authority (PEM).
    type: str
    required: true
  former:
    description: Others trusted beside the main authority (PEM).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
trust: "{{ pki_authorities | trust_files(pki_ca_certificate, pki_former_certificates) }}"
"""

RETURN = r"""
_value:
  description: Texts by path below the directory of certificates.
  type: dict
"""


def joined(certificate: str, former: Sequence[str]) -> str:
    """One file: each certificate once, the present one first."""
    return "\n".join(dict.fromkeys(text.strip() for text in (certificate, *former))) + "\n"


def trust_files(authorities: Mapping[str, Mapping[str, Any]], certificate: str, former: Sequence[str] = ()) -> dict[str, str]:
    """Texts by path."""
    others = {f"authorities/{name}.crt": joined(each["certificate"], each.get("former", ())) for name, each in sorted(authorities.items())}
    return {"ca.crt": joined(certificate, former), **others}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"trust_files": trust_files}
