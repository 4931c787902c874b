#!/usr/bin/python
"""Ask Redis or Sentinel over TLS: who is master, what is set; set at run time what differs."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: redis_node
short_description: Find the master of a Redis group, and set a running Redis or Sentinel
description:
  - With O(members) it finds the master. Sentinels are believed when a majority of them agree; without them a member that says
    it is master, the one with most replicas first.
  - With O(settings) it compares the running server with the settings wanted and sets what differs, without a restart. What Redis
    sets at start only is returned in C(restart).
  - With O(master_name) the server asked is a Sentinel, and O(settings) are those of SENTINEL SET.
  - With O(commands) it runs commands that change nothing and returns the answers.
  - Check mode asks and compares, but sets nothing. A server that does not answer is no error when O(members) is given or O(patient) is true.
options:
  address: {description: Address of the server asked., type: str}
  port: {description: TLS port of the server asked., type: int, default: 6379}
  user: {description: ACL user., type: str, required: true}
  password: {description: Its password., type: str, required: true}
  keyring:
    description:
      - File in which the module keeps, for root only, the password that the server at O(address) took last. When O(password) is new and the
        server does not know it yet, this one opens the door, and the server reads its ACL file again.
    type: path
  ca: {description: File with the authority that signed the servers' certificates., type: path, required: true}
  server_name: {description: Name that certificates must carry., type: str, required: true}
  members: {description: Addresses of all Redis hosts., type: list, elements: str, default: []}
  sentinels: {description: Addresses of all Sentinels., type: list, elements: str, default: []}
  sentinel_port: {description: TLS port of Sentinel., type: int, default: 26379}
  master_name: {description: Name under which Sentinels watch the group., type: str}
  settings: {description: Wanted values by name., type: dict, default: {}}
  secret_settings: {description: Wanted values that must not be shown., type: dict, default: {}}
  reload: {description: "Names set again although equal, so that files are read again.", type: list, elements: str, default: []}
  load_users: {description: Read the ACL file again., type: bool, default: false}
  commands: {description: "Read-only commands, each a list of words.", type: list, elements: list, default: []}
  patient: {description: "A server that does not answer is told by C(reached), not by failing.", type: bool, default: false}
  timeout: {description: Seconds to wait for one answer., type: float, default: 2}
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Find the master
  redis_node:
    members: ["192.0.2.51", "192.0.2.52"]
    sentinels: ["192.0.2.51", "192.0.2.52", "192.0.2.53"]
    master_name: bmms-master
    user: admin
    password: "{{ redis_admin_password }}"
    ca: /etc/obcms/pki/authorities/redis.crt
    server_name: redis.obcms.internal
  register: found

- name: Apply settings without a restart
  redis_node:
    address: 192.0.2.51
    user: admin
    password: "{{ redis_admin_password }}"
    ca: /etc/obcms/pki/authorities/redis.crt
    server_name: redis.obcms.internal
    settings: {maxmemory: 8gb, io-threads: 4}
"""

RETURN = r"""
master: {description: Address of the master; empty when nobody knows one., returned: with members, type: str}
claims: {description: Members that say they are master., returned: with members, type: list}
answered: {description: Members that answered., returned: with members, type: list}
told_by: {description: sentinels or members., returned: with members, type: str}
reached: {description: Whether the server at C(address) answered., returned: with address, type: bool}
problem: {description: Why it did not., returned: with address, type: str}
role: {description: "master, slave or sentinel.", returned: with address, type: str}
applied: {description: Settings that were set., returned: with settings, type: list}
restart: {description: Settings that need a restart., returned: with settings, type: list}
answers: {description: One answer per command., returned: with commands, type: list}
"""

# redis.conf, "Note on units": k is 1000, kb is 1024.
UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
# config.c: what CONFIG SET answers for a setting that only a start can change.
START_ONLY = re.compile(r"can't set (immutable|protected) config", re.IGNORECASE)


class Refused(Exception):
    """An error answer of the server."""


class Server:
    """One connection; answers as text, lists and numbers. `stale` tells that the server still has the password of before."""

    def __init__(self, address: str, port: int, params: dict[str, Any], former: str = "") -> None:
        context = ssl.create_default_context(cafile=params["ca"])
        raw = socket.create_connection((address, port), timeout=params["timeout"])
        self.socket = context.wrap_socket(raw, server_hostname=params["server_name"])
        self.stream = self.socket.makefile("rb")
        self.stale = False
        try:
            self.ask("AUTH", params["user"], params["password"])
        except Refused:
            if not former:
                raise
            self.ask("AUTH", params["user"], former)
            self.stale = True

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def ask(self, *words: Any) -> Any:
        """Send one command and read its answer; Refused when the server says no."""
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        answer = self._read()
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _read(self) -> Any:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            return Refused(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.stream.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._read() for _ in range(max(0, int(rest)))]
        return rest


def pairs(flat: list[Any]) -> dict[str, str]:
    """Redis answers maps as flat lists."""
    return dict(zip(map(str, flat[::2]), map(str, flat[1::2])))  # noqa: B905 - strict= needs Python 3.10


def canonical(value: Any) -> str:
    """8gb and 8589934592, or true and yes, are the same setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(str(value).split()).strip('"').lower()
    match = re.fullmatch(r"(\d+)([kmg]?b?)", text)
    return str(int(match.group(1)) * UNITS[match.group(2)]) if match else text


def word(value: Any) -> str:
    """A setting as CONFIG SET takes it: quotes belong to the file only."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value).strip('"')


def role_and_replicas(address: str, port: int, params: dict[str, Any]) -> tuple[str, int]:
    """The role that a member says it has, and how many replicas; an empty role when it does not answer."""
    try:
        with Server(address, port, params) as server:
            answer = server.ask("ROLE")
    except (OSError, Refused):
        return "", 0
    return str(answer[0]), len(answer[2]) if answer[0] == "master" else 0


def told_by_sentinels(params: dict[str, Any]) -> str:
    """The master on which a majority of the Sentinels agree."""
    votes: Counter[str] = Counter()
    for address in params["sentinels"]:
        try:
            with Server(address, params["sentinel_port"], params) as server:
                answer = server.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", params["master_name"])
        except (OSError, Refused):
            continue
        if answer:
            votes[str(answer[0])] += 1
    if not votes:
        return ""
    address, count = votes.most_common(1)[0]
    return address if count > len(params["sentinels"]) // 2 else ""


def find_master(params: dict[str, Any]) -> dict[str, Any]:
    """Who is master, and who says so."""
    roles = {address: role_and_replicas(address, params["port"], params) for address in params["members"]}
    # A promoted replica may not have replicas yet, and a cut-off old master still may: sentinels know better than members.
    claims = sorted((a for a, (role, _) in roles.items() if role == "master"), key=lambda a: -roles[a][1])
    told = told_by_sentinels(params) if params["master_name"] else ""
    return {
        "master": told or (claims[0] if claims else ""),
        "told_by": "sentinels" if told else "members",
        "claims": claims,
        "answered": [address for address, (role, _) in roles.items() if role],
    }


def current_settings(server: Server, names: list[str], master_name: str | None) -> dict[str, str]:
    """What the running server has; names it does not know are left out."""
    if master_name:
        return pairs(server.ask("SENTINEL", "MASTER", master_name))
    return pairs(server.ask("CONFIG", "GET", *names)) if names else {}


def set_one(server: Server, name: str, value: Any, master_name: str | None) -> bool:
    """Whether the running server took it; False means that a restart is needed."""
    try:
        if master_name:
            server.ask("SENTINEL", "SET", master_name, name, word(value))
        else:
            server.ask("CONFIG", "SET", name, word(value))
    except Refused as error:
        if START_ONLY.search(str(error)):
            return False
        raise Refused(f"{name}: {error}") from error
    return True


def apply(server: Server, params: dict[str, Any], dry: bool) -> dict[str, Any]:
    """Set what differs."""
    wanted = {**params["settings"], **params["secret_settings"]}
    present = current_settings(server, list(wanted), params["master_name"])
    # Passwords of SENTINEL SET cannot be read back: `reload` names them when they may have changed.
    differ = [name for name in sorted(wanted) if name in present and canonical(present[name]) != canonical(wanted[name])]
    again = [name for name in params["reload"] if name in wanted and name not in differ]
    result: dict[str, Any] = {"applied": [], "restart": [], "before": {}, "after": {}}
    for name in differ:
        hidden = name in params["secret_settings"]
        result["before"][name] = "hidden" if hidden else present[name]
        result["after"][name] = "hidden, changed" if hidden else word(wanted[name])
    if dry:
        result["applied"] = differ
        return result
    if params["load_users"] or server.stale:
        server.ask("ACL", "LOAD")
    if again and not params["master_name"]:
        # Certificate and key belong together: one command for all, else the first alone would not match the second.
        server.ask("CONFIG", "SET", *[part for name in again for part in (name, word(wanted[name]))])
        again = []
    for name in differ + again:
        result["applied" if set_one(server, name, wanted[name], params["master_name"]) else "restart"].append(name)
    return result


def kept_password(keyring: Path | None) -> str:
    """The password that the server took last."""
    return keyring.read_text() if keyring and keyring.exists() else ""


def keep_password(keyring: Path | None, password: str) -> None:
    """Write it down for root only, in place of the one before."""
    if keyring and kept_password(keyring) != password:
        new = keyring.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(password)
        new.replace(keyring)


def ask_one(params: dict[str, Any], dry: bool) -> dict[str, Any]:
    """Ask the server at `address`, and set it."""
    keyring = Path(params["keyring"]) if params["keyring"] else None
    with Server(params["address"], params["port"], params, kept_password(keyring)) as server:
        role = str(server.ask("ROLE")[0])
        done = apply(server, params, dry)
        if not dry:
            # Proof that the new password opens the door before the old one is forgotten.
            server.ask("AUTH", params["user"], params["password"])
            keep_password(keyring, params["password"])
        return {
            "role": role,
            "applied": done["applied"],
            "restart": done["restart"],
            "diff": {"before": done["before"], "after": done["after"]},
            "changed": bool(done["applied"]) or params["load_users"] or server.stale,
            "answers": [server.ask(*command) for command in params["commands"]],
        }


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "port": {"type": "int", "default": 6379},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "keyring": {"type": "path", "no_log": False},
            "ca": {"type": "path", "required": True},
            "server_name": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "default": []},
            "sentinels": {"type": "list", "elements": "str", "default": []},
            "sentinel_port": {"type": "int", "default": 26379},
            "master_name": {"type": "str"},
            "settings": {"type": "dict", "default": {}},
            "secret_settings": {"type": "dict", "default": {}, "no_log": True},
            "reload": {"type": "list", "elements": "str", "default": []},
            "load_users": {"type": "bool", "default": False},
            "commands": {"type": "list", "elements": "list", "default": []},
            "patient": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 2.0},
        },
        required_one_of=[("address", "members")],
        supports_check_mode=True,
    )
    params = module.params
    result: dict[str, Any] = {"changed": False}
    if params["members"]:
        # A bare host has no authority file yet: nobody can be asked, and nobody answers.
        known = Path(params["ca"]).exists()
        result.update(find_master(params) if known else {"master": "", "told_by": "members", "claims": [], "answered": []})
    if params["address"]:
        result.update(reached=True, problem="", role="", applied=[], restart=[], answers=[])
        try:
            result.update(ask_one(params, module.check_mode))
        except (OSError, Refused) as error:
            result.update(reached=False, problem=str(error) or type(error).__name__)
            if not params["patient"]:
                module.fail_json(msg=f"redis_node: {params['address']}:{params['port']}: {result['problem']}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
