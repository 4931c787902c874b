"""Filter scram_secret: what PostgreSQL stores in place of a password."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: scram_secret
short_description: SCRAM-SHA-256 secret of a password, as PostgreSQL stores it
description:
  - The salt follows from role and password, so the same password always gives the same secret. That makes it possible to see
    without a login whether PostgreSQL still has the password of the vault, and the password itself never reaches SQL or a log.
  - A salt has to be different from role to role, not secret; the passwords are random and long.
positional: _input, role
options:
  _input: {description: The password., type: str, required: true}
  role: {description: The role that the password belongs to., type: str, required: true}
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ postgres_app_password | scram_secret('obcms_app') }}"
"""

RETURN = r"""
_value: {description: 'SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY', type: str}
"""

ITERATIONS = 4096  # PostgreSQL 17 manual, 19.3.2 scram_iterations: default; RFC 7677: the least
DIGEST = "sha256"  # RFC 7677: SCRAM-SHA-256
SALT_BYTES = 16  # as PostgreSQL's own (SCRAM_DEFAULT_SALT_LEN)


def scram_secret(password: Any, role: Any) -> str:
    """SCRAM secret after RFC 5803."""
    if not (isinstance(password, str) and password and isinstance(role, str) and role):
        raise AnsibleFilterError(f"scram_secret: role {role!r} has no password or no name; bin/secrets makes missing passwords")
    if not password.isascii():
        raise AnsibleFilterError(f"scram_secret: the password of {role} has characters outside ASCII; use letters, digits and punctuation")
    salt = hashlib.sha256(f"{role}\0{password}".encode()).digest()[:SALT_BYTES]
    salted = hashlib.pbkdf2_hmac(DIGEST, password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", DIGEST)).digest()
    server = hmac.digest(salted, b"Server Key", DIGEST)
    text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *text)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"scram_secret": scram_secret}
