"""Filter pgbackrest_options: who talks to whom in pgBackRest, from the view of one host."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible loads every filter file by itself, outside any package: what filters share must be put on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from host_share import SizingError

DOCUMENTATION = r"""
name: pgbackrest_options
short_description: Options of pgBackRest for one host, in order
description:
  - A database host gets every repository, by TLS where it is on another host. A host that only keeps a repository gets its own repository and
    every database host. A host that is both gets all of it, itself first and without TLS.
  - The off-site repository comes after all others and belongs to the first repository host. Database hosts reach it through that host, so that
    no key of the storage is on them.
  - Returns C(global) and C(stanza), each a list of C([name, value]) in the order of the file; a name may come twice, as pgBackRest has it.
    C(here) are the options with which a repository host restores to itself; empty elsewhere.
positional: _input, repositories, address, settings
options:
  _input: {description: 'Database hosts, each C({name, address}).', type: list, elements: dict, required: true}
  repositories: {description: 'Hosts with a repository, each C({name, address}).', type: list, elements: dict, required: true}
  address: {description: Address of this host., type: str, required: true}
  settings:
    description:
      - C(stanza), C(port), C(pki) (directory of pgbackrest.crt, pgbackrest.key and ca.crt), C(data), C(postgres_port) and C(socket) of the database,
        C(global) (options for every host), C(repository) (options of the repository on this host, without C(repoN-)) and C(offsite) (the same of
        the off-site one; empty for none).
    type: dict
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ database_members | pgbackrest_options(backup_members, host_address, __pgbackrest_options_of) }}"
"""

RETURN = r"""
_value:
  description: >-
    C(global), C(stanza), C(here), C(peers) (addresses that this host talks to by TLS), C(own) and C(offsite) (numbers of repositories, 0 for none).
  type: dict
"""

# pgBackRest 2.55, configuration reference: indexes of pg and repo.
MOST = {"database hosts": 256, "repositories": 256}


def pgbackrest_options(
    members: Sequence[Mapping[str, str]], repositories: Sequence[Mapping[str, str]], address: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Options of one host; see DOCUMENTATION."""
    for what, hosts in (("database hosts", members), ("repositories", repositories)):
        if not 0 < len(hosts) <= MOST[what]:
            raise SizingError(f"pgbackrest_options: {len(hosts)} {what}, but 1 to {MOST[what]} are allowed; look at the groups postgres and backup")
    holds_data = any(host["address"] == address for host in members)
    keeps = [host for host in repositories if host["address"] == address]
    # The host itself comes first: archive-push and archive-get take the first database.
    databases = sorted(members, key=lambda host: host["address"] != address) if keeps else [host for host in members if host["address"] == address]
    seen = list(repositories) if holds_data else keeps
    if not databases:
        raise SizingError(f"pgbackrest_options: {address} neither runs a database nor keeps a repository; run the role on hosts that do")
    peers = [host for host in [*databases, *seen] if host["address"] != address]
    if keeps and holds_data:
        peers = [host for host in [*members, *repositories] if host["address"] != address]

    options = _sorted(settings["global"])
    # A repository has the same number on every host: one that asks for it by TLS gives the number.
    numbers = {host["address"]: number for number, host in enumerate(repositories, 1)}
    for host in seen:
        number = numbers[host["address"]]
        if host["address"] == address:
            options += _sorted(settings["repository"], f"repo{number}-")
        else:
            options += _remote(f"repo{number}", host["address"], settings)
    offsite = len(repositories) + 1 if settings["offsite"] and repositories[0] in seen else 0
    if offsite and repositories[0]["address"] == address:
        options += _sorted(settings["offsite"], f"repo{offsite}-")
    elif offsite:
        options += _remote(f"repo{offsite}", repositories[0]["address"], settings)
    if peers:
        options += [["tls-server-address", address], ["tls-server-port", settings["port"]], *_certificate("tls-server", settings["pki"])]
        clients = members if keeps and not holds_data else [*repositories, *members] if keeps else repositories
        names = dict.fromkeys(host["name"] for host in clients if host["address"] != address)
        options += [["tls-server-auth", f"pgbackrest@{name}={settings['stanza']}"] for name in names]

    stanza: list[list[Any]] = []
    for number, host in enumerate(databases, 1):
        if host["address"] != address:
            stanza += _remote(f"pg{number}", host["address"], settings)
        stanza += [[f"pg{number}-path", settings["data"]], [f"pg{number}-port", settings["postgres_port"]]]
        stanza += [[f"pg{number}-socket-path", settings["socket"]]]
    here = _sorted(settings["global"]) + _sorted(settings["repository"], "repo1-")
    return {
        "global": options,
        "stanza": stanza,
        "here": here if keeps else [],
        "peers": sorted({host["address"] for host in peers}),
        "own": numbers.get(address, 0),
        "offsite": offsite,
    }


def _sorted(options: Mapping[str, Any], prefix: str = "") -> list[list[Any]]:
    return [[f"{prefix}{name}", value] for name, value in sorted(options.items())]


def _remote(what: str, address: str, settings: Mapping[str, Any]) -> list[list[Any]]:
    """How another host is reached."""
    own = [[f"{what}-host", address], [f"{what}-host-type", "tls"], [f"{what}-host-port", settings["port"]]]
    return own + _certificate(f"{what}-host", settings["pki"])


def _certificate(what: str, pki: str) -> list[list[Any]]:
    return [[f"{what}-ca-file", f"{pki}/ca.crt"], [f"{what}-cert-file", f"{pki}/pgbackrest.crt"], [f"{what}-key-file", f"{pki}/pgbackrest.key"]]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"pgbackrest_options": pgbackrest_options}
