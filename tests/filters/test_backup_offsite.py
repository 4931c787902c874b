"""One description, two programs; what is incomplete is refused by name."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from backup_offsite import offsite_pgbackrest, offsite_restic

KEYS = {"directory": "/etc/obcms/offsite", "s3_key": "AK", "s3_secret": "sk"}
SFTP = {"type": "sftp", "host": "192.0.2.9", "user": "obcms", "path": "/backups/", "host_key": "ssh-ed25519 AAAA"}
S3 = {"type": "s3", "endpoint": "s3.example.org", "bucket": "b", "region": "r", "path": "/obcms"}


def test_none_is_none() -> None:
    assert offsite_restic({}, KEYS) == {"url": "", "options": [], "environment": {}}
    assert offsite_pgbackrest({}, KEYS) == {}


def test_sftp_checks_the_host_and_uses_the_key_alone() -> None:
    found = offsite_restic(SFTP, KEYS)
    assert found["url"] == "sftp://obcms@192.0.2.9:22//backups/files"
    assert "-i /etc/obcms/offsite/key" in found["options"][1]
    assert "StrictHostKeyChecking=yes" in found["options"][1]
    options = offsite_pgbackrest(SFTP, KEYS)
    assert options["path"] == "/backups/database"
    assert options["sftp-host-key-check-type"] == "strict"
    assert offsite_restic({**SFTP, "port": 2222}, KEYS)["url"].startswith("sftp://obcms@192.0.2.9:2222//")


def test_s3_has_its_keys_in_the_environment_and_not_in_the_arguments() -> None:
    found = offsite_restic(S3, KEYS)
    assert found["url"] == "s3:https://s3.example.org/b/obcms/files"
    assert found["environment"]["AWS_SECRET_ACCESS_KEY"] == "sk"
    assert "sk" not in " ".join(found["options"])
    assert offsite_pgbackrest(S3, KEYS)["s3-key-secret"] == "sk"


def test_a_directory() -> None:
    assert offsite_restic({"type": "posix", "path": "/mnt/off"}, KEYS)["url"] == "/mnt/off/files"
    assert offsite_pgbackrest({"type": "posix", "path": "/mnt/off"}, KEYS) == {"type": "posix", "path": "/mnt/off/database"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"type": "ftp"}, "backup_offsite: type 'ftp' is unknown; allowed are sftp, s3, posix; leave backup_offsite empty for none"),
        ("sftp", "backup_offsite: type None is unknown; allowed are sftp, s3, posix; leave backup_offsite empty for none"),
        ({**SFTP, "host_key": ""}, "backup_offsite: sftp needs host, user, path, host_key; host_key is missing"),
        ({"type": "s3", "path": "/x"}, "backup_offsite: s3 needs endpoint, bucket, region, path; endpoint, bucket, region is missing"),
        ({"type": "posix", "path": "mnt"}, "backup_offsite: path 'mnt' must begin with /"),
    ],
)
def test_what_is_incomplete_is_refused(wrong: object, said: str) -> None:
    for function in (offsite_restic, offsite_pgbackrest):
        with pytest.raises(AnsibleFilterError) as raised:
            function(wrong, KEYS)
        assert str(raised.value) == said
