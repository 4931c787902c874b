"""Whole results of the filters for backups and restores; see test_shown.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backup_offsite import offsite_pgbackrest, offsite_restic
from file_backup_secret import file_backup_htpasswd, file_backup_repositories, file_backup_rows, file_backup_secret
from pgbackrest_options import pgbackrest_options
from restore_fit import restore_fit
from restore_plan import restore_plan

DATABASES = [{"name": f"db{number}", "address": f"192.0.2.4{number}"} for number in (1, 2, 3)]
KEEPERS = [{"name": f"backup{number}", "address": f"192.0.2.7{number}"} for number in (1, 2)]
SETTINGS: dict[str, Any] = {
    "stanza": "obcms",
    "port": 8432,
    "pki": "/etc/obcms/pki",
    "data": "/var/lib/postgresql/17/obcms",
    "postgres_port": 5432,
    "socket": "/run/postgresql",
    "global": {"start-fast": "y", "archive-async": "n"},
    "offsite": {},
    "repository": {"path": "/srv/pgbackrest", "cipher-type": "aes-256-cbc"},
}


def options(address: str, members: list[dict[str, str]] | None = None, repositories: list[dict[str, str]] | None = None) -> Callable[[], Any]:
    """What a host of the fleet, with one repository unless others are given, is told."""

    def told() -> dict[str, Any]:
        found = pgbackrest_options(DATABASES if members is None else members, repositories or KEEPERS[:1], address, SETTINGS)
        return {name: found[name] for name in ("global", "stanza", "here", "peers")}

    return told


def many(count: int) -> list[dict[str, str]]:
    return [{"name": f"h{number}", "address": f"10.0.{number // 250}.{number % 250 + 1}"} for number in range(count)]


KEYS = {"directory": "/etc/obcms/offsite", "s3_key": "AK", "s3_secret": "sk"}
OFFSITE: dict[str, Any] = {
    "none": {},
    "sftp": {"type": "sftp", "host": "192.0.2.9", "user": "obcms", "path": "/backups/", "host_key": "ssh-ed25519 AAAA"},
    "sftp_port": {"type": "sftp", "host": "192.0.2.9", "user": "obcms", "path": "/x/", "host_key": "ssh-ed25519 AAAA", "port": 2222},
    "s3": {"type": "s3", "endpoint": "s3.example.org", "bucket": "b", "region": "r", "path": "/obcms"},
    "s3_host": {"type": "s3", "endpoint": "s3.example.org", "bucket": "b", "region": "r", "path": "/X/X", "uri_style": "host"},
    "posix": {"type": "posix", "path": "/mnt/off//"},
}
RELEASES = {"1.0.0": ["work.0001", "auth.0001"], "1.1.0": ["work.0001", "work.0002", "auth.0001"]}
SIX = [f"work.000{number}" for number in range(1, 7)]

# 2026-01-31 02:00:00 UTC.
TEN = 1769824800.0


def kept(name: str, stop: float, note: str | None = None, repository: int | None = 1) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": name, "timestamp": {"stop": stop}, "database": {} if repository is None else {"repo-key": repository}}
    return {**entry, "annotation": {"label": note}} if note else {**entry, "annotation": None}


BACKUPS = [
    {"backup": [kept("B3", TEN - 3600, "noon"), kept("B1", TEN - 9 * 3600), kept("B2", TEN - 7200, repository=None)]},
    {},
    {"status": {"message": "second"}, "backup": [kept("R2", TEN - 1800, repository=2)]},
]
POINTS = ["before-wave-2-20260130T230000Z x before-wave-12-20260131T000000Z", "before-wave-2-20260131T013000Z"]
LEFT = [
    {"target_at": TEN - 3 * 3600, "done_at": TEN - 3600, "timeline": 4.0},
    {"target_at": TEN - 8 * 3600, "done_at": TEN - 6 * 3600, "timeline": 2},
]


def going_back(now: float = TEN, history: Any = (), backups: Any = None, points: Any = None, **asked: Any) -> Callable[[], Any]:
    return lambda: restore_plan(asked, BACKUPS if backups is None else backups, POINTS if points is None else points, history, now)


CASES: dict[str, Callable[[], Any]] = {
    "pgbackrest_database": options("192.0.2.42"),
    "pgbackrest_database_two_repositories": options("192.0.2.41", repositories=KEEPERS),
    "pgbackrest_repository": options("192.0.2.71"),
    "pgbackrest_both": options("192.0.2.42", repositories=[DATABASES[1]]),
    "pgbackrest_alone": options("192.0.2.41", DATABASES[:1], DATABASES[:1]),
    "pgbackrest_database_beside_both": options("192.0.2.43", repositories=[DATABASES[0]]),
    "pgbackrest_no_database": options("192.0.2.71", members=[]),
    "pgbackrest_no_repository": lambda: pgbackrest_options(DATABASES, [], "192.0.2.41", SETTINGS),
    "pgbackrest_too_many": options("192.0.2.41", members=many(257)),
    "pgbackrest_too_many_repositories": options("192.0.2.41", repositories=many(257)),
    "pgbackrest_stranger": options("192.0.2.99"),
    "pgbackrest_most": lambda: len(pgbackrest_options(DATABASES, many(256), "192.0.2.41", SETTINGS)["peers"]),
    **{f"offsite_restic_{name}": lambda kind=kind: offsite_restic(kind, KEYS) for name, kind in OFFSITE.items()},
    **{f"offsite_pgbackrest_{name}": lambda kind=kind: offsite_pgbackrest(kind, KEYS) for name, kind in OFFSITE.items()},
    "file_backup_secrets": lambda: [
        file_backup_secret("secret", name, purpose) for name in ("media", "mon1") for purpose in ("encryption", "access")
    ],
    "file_backup_htpasswd": lambda: file_backup_htpasswd("secret", ["mon1", "media", "mon1"]),
    "file_backup_repositories": lambda: file_backup_repositories("secret", ["mon1", "media", "mon1"], "rest:https://192.0.2.71:8485"),
    "file_backup_twins": lambda: file_backup_repositories("secret", ["media"], "/srv", "/off"),
    "file_backup_rows": lambda: file_backup_rows({"copy of x": None, "backup of b": 2, "backup of a": 2.5}, 2),
    "restore_fit": lambda: restore_fit(["auth.0001", "work.0001"], RELEASES, "1.0.0"),
    "restore_fit_behind": lambda: restore_fit(["auth.0001", "work.0001"], RELEASES, "1.1.0"),
    "restore_fit_behind_migrated": lambda: restore_fit(["auth.0001", "work.0001"], RELEASES, "1.1.0", True),
    "restore_fit_ahead": lambda: restore_fit(RELEASES["1.1.0"], RELEASES, "1.0.0", True),
    "restore_fit_both": lambda: restore_fit(["auth.0001", "work.0001", "work.0009"], RELEASES, "1.1.0"),
    "restore_fit_nothing": lambda: restore_fit(["auth.0001", "work.0009"], RELEASES, "1.0.0"),
    "restore_fit_not_kept": lambda: restore_fit([], {name: [] for name in ("5", "4", "3", "2", "1")}, "6"),
    "restore_fit_none_kept": lambda: restore_fit([], {}, "6"),
    "restore_fit_many": lambda: restore_fit(["work.0001"], {"1": SIX}, "1"),
    "restore_fit_four": lambda: restore_fit(["work.0001", "gone.0001"], {"1": SIX[:5]}, "1"),
    "restore_nothing_asked": going_back(),
    "restore_both_asked": going_back(target="wave-2", label="B1"),
    "restore_none_known": going_back(target="noon", points=[]),
    "restore_time": going_back(target=" 2026-01-31 09:15:30.25+08 "),
    "restore_time_quarter_zone": going_back(target="2026-01-31 06:45+0545"),
    "restore_time_exactly_at_a_backup": going_back(target="2026-01-31 08:00:00+08"),
    "restore_time_now": going_back(target="2026-01-31 10:00:00+08"),
    "restore_time_future": going_back(target="2026-01-31 10:00:00.5+08"),
    "restore_time_oldest": going_back(target="2026-01-31T01:00:00+08"),
    "restore_time_too_old": going_back(target="2026-01-31T00:59:59.5+08"),
    "restore_time_without_zone": going_back(target="2026-01-31 09:15:30"),
    "restore_time_is_none": going_back(target="2026-13-31 09:15:30Z"),
    "restore_other_repository": going_back(target="2026-01-31 09:45Z".replace("09", "01"), repository="2"),
    "restore_empty_repository": going_back(label="B1", repository=3),
    "restore_empty_repository_says": going_back(label="B1", repository=1, backups=[{"status": {"message": "no valid backups"}}]),
    "restore_no_cluster": going_back(label="B1", backups=[]),
    "restore_wave": going_back(target="wave-2"),
    "restore_wave_12": going_back(target="wave-12"),
    "restore_wave_unknown": going_back(target="wave-1"),
    "restore_point": going_back(target="before-wave-2-20260130T230000Z"),
    "restore_point_unknown": going_back(target="before-wave-2-20260130T230001Z"),
    "restore_seven_points": going_back(target="x", points=[f"before-wave-{number}-2026013{number % 2}T00000{number}Z" for number in range(1, 8)]),
    "restore_label": going_back(label="noon"),
    "restore_label_unknown": going_back(
        label="gone", backups=[{"backup": [kept(f"B{n}", TEN - 60 * n, "n" if n == 2 else "") for n in range(1, 8)]}]
    ),
    "restore_label_twice": going_back(label="n", backups=[{"backup": [kept(f"B{n}", TEN - 60 * n, "n") for n in range(1, 8)]}]),
    "restore_ages": lambda: [
        restore_plan({"label": "B"}, [{"backup": [kept("B", 0.0)]}], [], [], seconds)["words"]
        for seconds in (0.0, 59.9, 60.0, 3599.0, 3600.0, 86399.0, 86400.0, 90000.0, 176461.0)
    ],
    "restore_rounded": lambda: [restore_plan({"label": "B"}, [{"backup": [kept("B", 0.0)]}], [], [], now)["lost_seconds"] for now in (0.4, 0.6)],
    **{
        f"restore_branch_{minutes}": going_back(
            target=f"2026-01-3{1 if minutes < 120 else 0} {(120 - minutes) // 60 % 24:02}:{-minutes % 60:02}Z", history=LEFT
        )
        for minutes in (30, 59, 60, 61, 100, 179, 180, 181, 240, 359, 360, 361, 420, 479, 480, 481)
    },
    "restore_no_branch": going_back(target="2026-01-31 01:30Z", history=[{"target_at": TEN - 40000, "done_at": TEN - 1801, "timeline": 2}]),
}
