"""What opens each repository of file backups, from one secret of the vault: file_backup_secret and the filters that build on it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: file_backup_secret
short_description: Secret of one repository of file backups
description:
  - Each repository has an encryption password and an access password of its own, so that a host reads and writes nothing but its own backups.
    Both follow from one secret of the vault; whoever has that opens every repository, also after all hosts are lost.
  - C(file_backup_htpasswd) in the same file gives the lines of the server's C(htpasswd) for a list of repositories.
  - C(file_backup_repositories) gives, by name, what the program C(file-backup) needs to open them; C(file_backup_rows) rows of verify.yml.
positional: _input, repository, purpose
options:
  _input: {description: The secret of the vault., type: str, required: true}
  repository: {description: Name of the repository., type: str, required: true}
  purpose: {description: What the secret is for., type: str, choices: [encryption, access], required: true}
"""

EXAMPLES = r"""
- vars:
    password: "{{ backup_cipher_password | file_backup_secret('media', 'encryption') }}"
    users: "{{ backup_cipher_password | file_backup_htpasswd(['media', 'mon1']) }}"
  ansible.builtin.debug:
    msg: "{{ password | length }} characters"
"""

RETURN = r"""
_value: {description: 'The secret, 64 hexadecimal digits; or the list of lines C(NAME:{SHA}HASH).', type: raw}
"""

PURPOSES = ("encryption", "access")
# Names become directories, users of the server, and parts of a URL.
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def file_backup_secret(secret: Any, repository: Any, purpose: Any) -> str:
    """HMAC-SHA256 of purpose and name: nothing leads from one repository's secret to another's."""
    if not (isinstance(secret, str) and secret):
        raise AnsibleFilterError(f"file_backup_secret: there is no secret for repository {repository!r}; bin/secrets makes missing ones")
    if not (isinstance(repository, str) and NAME.fullmatch(repository)):
        raise AnsibleFilterError(f"file_backup_secret: repository {repository!r}: use lower-case letters, digits and . _ - only")
    if purpose not in PURPOSES:
        raise AnsibleFilterError(f"file_backup_secret: purpose {purpose!r} is unknown; allowed are {', '.join(PURPOSES)}")
    return hmac.digest(secret.encode(), f"file_backup\0{purpose}\0{repository}".encode(), hashlib.sha256).hex()


def file_backup_htpasswd(secret: Any, repositories: Sequence[str]) -> list[str]:
    """A line per repository. Plain SHA-1 is enough for 256 random bits, and always gives the same line."""
    lines = []
    for name in sorted(set(repositories)):
        hashed = hashlib.sha1(file_backup_secret(secret, name, "access").encode()).digest()
        lines.append(f"{name}:{{SHA}}{base64.b64encode(hashed).decode()}")
    return lines


def file_backup_repositories(secret: Any, repositories: Sequence[str], place: str, offsite: str = "") -> dict[str, dict[str, str]]:
    """By name: url, passwords, and the place of the twin where there is one."""
    found = {}
    for name in sorted(set(repositories)):
        keys = {"password": file_backup_secret(secret, name, "encryption"), "access": file_backup_secret(secret, name, "access")}
        found[name] = {"url": f"{place}/{name}", **keys, **({"offsite": f"{offsite}/{name}"} if offsite else {})}
    return found


def file_backup_rows(hours: Mapping[str, float | None], limit: float) -> list[dict[str, Any]]:
    """Rows of verify.yml: how old the newest backup of each set is."""
    rows = []
    for name, age in sorted(hours.items()):
        answer = "none yet" if age is None else f"{age} h old, limit {limit} h"
        rows.append({"asked": f"newest {name}", "answer": answer, "ok": age is not None and age <= limit})
    return rows


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "file_backup_secret": file_backup_secret,
            "file_backup_htpasswd": file_backup_htpasswd,
            "file_backup_repositories": file_backup_repositories,
            "file_backup_rows": file_backup_rows,
        }
