"""Filters offsite_restic and offsite_pgbackrest: one description of the off-site storage, as each of the two programs wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: offsite_restic
short_description: Off-site storage as restic wants it
description:
  - "C(backup_offsite) says once where copies go that survive the loss of all hosts:
    C({type: sftp, host, user, path, host_key, port}), C({type: s3, endpoint, bucket, region, path}) or C({type: posix, path})."
  - C(offsite_pgbackrest) in the same file gives the options of pgBackRest's second repository, without C(repo2-).
positional: _input, keys
options:
  _input: {description: C(backup_offsite)., type: dict, required: true}
  keys:
    description: "C(directory) that holds C(key) and C(known_hosts) on the host, and C(s3_key) and C(s3_secret)."
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    keys: {directory: /etc/obcms/offsite}
    offsite: {type: sftp, host: 192.0.2.9, user: obcms, path: /backups, host_key: "ssh-ed25519 AAAA"}
  ansible.builtin.debug:
    msg: "{{ (offsite | offsite_restic(keys)).url }}"  # sftp://obcms@192.0.2.9:22//backups/files
"""

RETURN = r"""
_value:
  description: C(url), C(options) (a list of arguments) and C(environment); for pgBackRest a dict of options.
  type: dict
"""

NEEDS = {
    "sftp": ("host", "user", "path", "host_key"),
    "s3": ("endpoint", "bucket", "region", "path"),
    "posix": ("path",),
}
SSH_PORT = 22


def _checked(offsite: Any) -> Mapping[str, Any]:
    kind = offsite.get("type") if isinstance(offsite, Mapping) else None
    if kind not in NEEDS:
        raise AnsibleFilterError(f"backup_offsite: type {kind!r} is unknown; allowed are {', '.join(NEEDS)}; leave backup_offsite empty for none")
    missing = [name for name in NEEDS[kind] if not offsite.get(name)]
    if missing:
        raise AnsibleFilterError(f"backup_offsite: {kind} needs {', '.join(NEEDS[kind])}; {', '.join(missing)} is missing")
    if not str(offsite["path"]).startswith("/"):
        raise AnsibleFilterError(f"backup_offsite: path {offsite['path']!r} must begin with /")
    return dict(offsite)


def offsite_restic(offsite: Any, keys: Mapping[str, str]) -> dict[str, Any]:
    """Where files go; each repository is one directory below."""
    if not offsite:
        return {"url": "", "options": [], "environment": {}}
    found = _checked(offsite)
    below = str(found["path"]).rstrip("/") + "/files"
    if found["type"] == "sftp":
        ssh = f"-i {keys['directory']}/key -o UserKnownHostsFile={keys['directory']}/known_hosts"
        ssh += " -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=20"
        url = f"sftp://{found['user']}@{found['host']}:{found.get('port', SSH_PORT)}/{below}"
        return {"url": url, "options": ["-o", f"sftp.args={ssh}"], "environment": {}}
    if found["type"] == "s3":
        environment = {"AWS_ACCESS_KEY_ID": keys["s3_key"], "AWS_SECRET_ACCESS_KEY": keys["s3_secret"], "AWS_DEFAULT_REGION": found["region"]}
        url = f"s3:https://{found['endpoint']}/{found['bucket']}{below}"
        return {"url": url, "options": ["-o", f"s3.bucket-lookup={found.get('uri_style', 'path')}"], "environment": environment}
    return {"url": below, "options": [], "environment": {}}


def offsite_pgbackrest(offsite: Any, keys: Mapping[str, str]) -> dict[str, str]:
    """Options of the second repository without their prefix; none where there is no off-site storage."""
    if not offsite:
        return {}
    found = _checked(offsite)
    options = {"type": found["type"], "path": str(found["path"]).rstrip("/") + "/database"}
    if found["type"] == "sftp":
        options |= {
            "sftp-host": str(found["host"]),
            "sftp-host-port": str(found.get("port", SSH_PORT)),
            "sftp-host-user": str(found["user"]),
            "sftp-host-key-check-type": "strict",
            "sftp-host-key-hash-type": "sha256",
            "sftp-known-host": f"{keys['directory']}/known_hosts",
            "sftp-private-key-file": f"{keys['directory']}/key",
        }
    if found["type"] == "s3":
        options |= {
            "s3-endpoint": str(found["endpoint"]),
            "s3-bucket": str(found["bucket"]),
            "s3-region": str(found["region"]),
            "s3-uri-style": str(found.get("uri_style", "path")),
            "s3-key": keys["s3_key"],
            "s3-key-secret": keys["s3_secret"],
        }
    return options


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"offsite_restic": offsite_restic, "offsite_pgbackrest": offsite_pgbackrest}
