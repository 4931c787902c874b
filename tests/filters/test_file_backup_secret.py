"""One secret of the vault, many repositories that do not open each other."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible.errors import AnsibleFilterError

from file_backup_secret import file_backup_htpasswd, file_backup_repositories, file_backup_rows, file_backup_secret


def test_each_repository_and_purpose_has_its_own_and_keeps_it() -> None:
    made = [file_backup_secret("s" * 40, name, purpose) for name in ("media", "mon1") for purpose in ("encryption", "access")]
    assert len(set(made)) == 4
    assert made[0] == file_backup_secret("s" * 40, "media", "encryption")
    assert all(len(secret) == 64 and "s" * 40 not in secret for secret in made)


def test_another_secret_of_the_vault_changes_all() -> None:
    assert file_backup_secret("a", "media", "access") != file_backup_secret("b", "media", "access")


def test_the_server_takes_the_access_password_and_no_other() -> None:
    lines = file_backup_htpasswd("s" * 40, ["mon1", "media", "mon1"])
    assert [line.split(":")[0] for line in lines] == ["media", "mon1"]
    access = file_backup_secret("s" * 40, "media", "access")
    assert lines[0] == "media:{SHA}" + base64.b64encode(hashlib.sha1(access.encode()).digest()).decode()


def test_a_repository_has_its_twin_only_where_there_is_an_offsite_storage() -> None:
    alone = file_backup_repositories("s", ["mon1", "media"], "rest:https://192.0.2.71:8485")
    assert list(alone) == ["media", "mon1"]
    assert alone["media"]["url"] == "rest:https://192.0.2.71:8485/media"
    assert "offsite" not in alone["media"]
    twin = file_backup_repositories("s", ["media"], "/srv/files", "sftp://o@192.0.2.9//x/files")["media"]
    assert twin["offsite"] == "sftp://o@192.0.2.9//x/files/media"
    assert twin["password"] == alone["media"]["password"]


def test_rows_fail_for_backups_that_are_old_or_missing() -> None:
    rows = file_backup_rows({"backup of media": 3.0, "backup of state": 3.1, "off-site copy of media": None}, 3)
    assert [row["ok"] for row in rows] == [True, False, False]
    assert rows[1]["answer"] == "3.1 h old, limit 3 h"
    assert rows[2] == {"asked": "newest off-site copy of media", "answer": "none yet", "ok": False}


@pytest.mark.parametrize(
    ("secret", "name", "purpose", "said"),
    [
        ("", "media", "access", "file_backup_secret: there is no secret for repository 'media'; bin/secrets makes missing ones"),
        (None, "media", "access", "file_backup_secret: there is no secret for repository 'media'; bin/secrets makes missing ones"),
        ("s", "../x", "access", "file_backup_secret: repository '../x': use lower-case letters, digits and . _ - only"),
        ("s", "", "access", "file_backup_secret: repository '': use lower-case letters, digits and . _ - only"),
        ("s", "media", "fun", "file_backup_secret: purpose 'fun' is unknown; allowed are encryption, access"),
    ],
)
def test_nonsense_is_refused_by_name(secret: object, name: object, purpose: object, said: str) -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        file_backup_secret(secret, name, purpose)
    assert str(raised.value) == said
