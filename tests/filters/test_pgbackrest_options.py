"""Who talks to whom in pgBackRest, from the view of each host; a repository has one number everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from host_share import SizingError
from pgbackrest_options import pgbackrest_options

DATABASES = [{"name": f"db{n}", "address": f"192.0.2.4{n}"} for n in (1, 2, 3)]
BACKUPS = [{"name": f"backup{n}", "address": f"192.0.2.7{n}"} for n in (1, 2)]
SETTINGS: dict[str, Any] = {
    "stanza": "obcms", "port": 8432, "pki": "/pki", "data": "/data", "postgres_port": 5432, "socket": "/run/postgresql",
    "global": {"io-timeout": 30}, "repository": {"path": "/repo", "cipher-pass": "secret"}, "offsite": {},
}  # fmt: skip
OFFSITE = SETTINGS | {"offsite": {"type": "sftp", "path": "/far", "cipher-pass": "secret"}}


def of(address: str, databases: list[dict[str, str]] = DATABASES, backups: list[dict[str, str]] | None = None, **settings: Any) -> dict[str, Any]:
    return pgbackrest_options(databases, BACKUPS[:1] if backups is None else backups, address, SETTINGS | settings)


def named(found: dict[str, Any], part: str = "global") -> dict[str, Any]:
    return dict(found[part])


def test_a_database_host_reaches_the_repository_by_tls_and_has_no_key_of_it() -> None:
    found = of("192.0.2.41")
    options = named(found)
    assert (options["repo1-host"], options["repo1-host-type"], options["repo1-host-port"]) == ("192.0.2.71", "tls", 8432)
    assert options["tls-server-auth"] == "pgbackrest@backup1=obcms"
    assert "secret" not in str(found)
    assert named(found, "stanza") == {"pg1-path": "/data", "pg1-port": 5432, "pg1-socket-path": "/run/postgresql"}
    assert (found["here"], found["peers"], found["own"], found["offsite"]) == ([], ["192.0.2.71"], 0, 0)


def test_a_repository_host_knows_every_database_and_opens_to_them_only() -> None:
    found = of("192.0.2.71")
    assert named(found)["repo1-path"] == "/repo"
    assert [value for name, value in found["global"] if name == "tls-server-auth"] == [f"pgbackrest@db{n}=obcms" for n in (1, 2, 3)]
    assert [value for name, value in found["stanza"] if name.endswith("-host")] == [host["address"] for host in DATABASES]
    assert named(found, "here") == {"io-timeout": 30, "repo1-path": "/repo", "repo1-cipher-pass": "secret"}


def test_the_off_site_repository_is_reached_through_the_first_repository_host() -> None:
    database, backup = (
        pgbackrest_options(DATABASES, BACKUPS[:1], "192.0.2.41", OFFSITE),
        pgbackrest_options(DATABASES, BACKUPS[:1], "192.0.2.71", OFFSITE),
    )
    assert named(database)["repo2-host"] == "192.0.2.71"
    assert "repo2-type" not in named(database)
    assert "secret" not in str(database)
    assert (named(backup)["repo2-type"], named(backup)["repo2-path"]) == ("sftp", "/far")
    # What they are told besides stays.
    assert (named(database)["io-timeout"], named(database)["repo1-host"]) == (30, "192.0.2.71")
    assert (named(backup)["io-timeout"], named(backup)["repo1-path"]) == (30, "/repo")
    assert "repo2-host" not in named(backup)
    assert (database["offsite"], backup["offsite"], backup["own"]) == (2, 2, 1)
    assert "repo2" not in str(backup["here"])


def test_two_repository_hosts_have_numbers_of_their_own() -> None:
    second = pgbackrest_options(DATABASES, BACKUPS, "192.0.2.72", OFFSITE)
    assert named(second)["repo2-path"] == "/repo"
    assert not any(name.startswith(("repo1-", "repo3-")) for name, _ in second["global"])
    assert (second["own"], second["offsite"]) == (2, 0)
    assert named(pgbackrest_options(DATABASES, BACKUPS, "192.0.2.42", OFFSITE))["repo3-host"] == "192.0.2.71"


@pytest.mark.parametrize(
    ("address", "backups", "clients"),
    [
        ("192.0.2.41", BACKUPS, ["backup1", "backup2"]),
        ("192.0.2.71", BACKUPS, ["db1", "db2", "db3"]),
        ("192.0.2.41", [DATABASES[0], BACKUPS[0]], ["backup1", "db2", "db3"]),
        ("192.0.2.42", [DATABASES[0], BACKUPS[0]], ["db1", "backup1"]),
    ],
)
def test_a_host_opens_to_those_only_that_ask_it_for_something(address: str, backups: list[dict[str, str]], clients: list[str]) -> None:
    assert [value for name, value in of(address, backups=backups)["global"] if name == "tls-server-auth"] == [
        f"pgbackrest@{name}=obcms" for name in clients
    ]


def test_a_host_that_is_both_comes_first_and_needs_no_tls() -> None:
    both = [{"name": "all1", "address": "192.0.2.9"}]
    found = of("192.0.2.9", databases=both, backups=both)
    assert found["peers"] == []
    assert not any(name.startswith("tls-server") for name, _ in found["global"])
    assert named(found, "stanza")["pg1-path"] == "/data"
    more = of("192.0.2.41", databases=DATABASES, backups=[DATABASES[0]])
    assert [value for name, value in more["stanza"] if name.endswith("-host")] == ["192.0.2.42", "192.0.2.43"]
    assert "pg1-host" not in named(more, "stanza")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"address": "192.0.2.1"}, "pgbackrest_options: 192.0.2.1 neither runs a database nor keeps a repository; run the role on hosts that do"),
        (
            {"address": "192.0.2.41", "databases": []},
            "pgbackrest_options: 0 database hosts, but 1 to 256 are allowed; look at the groups postgres and backup",
        ),
        (
            {"address": "192.0.2.41", "backups": []},
            "pgbackrest_options: 0 repositories, but 1 to 256 are allowed; look at the groups postgres and backup",
        ),
    ],
)
def test_what_cannot_be_is_refused(call: dict[str, Any], said: str) -> None:
    with pytest.raises(SizingError) as raised:
        of(**call)
    assert str(raised.value) == said
