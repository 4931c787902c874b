"""A process started as the application's are sees the whole environment, and others see nothing of it. A small program stands in for a release."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator

import pytest
from testinfra.host import Host

PROGRAM = """
import json, os, pwd, sys
print(json.dumps({"arguments": sys.argv[1:], "user": pwd.getpwuid(os.getuid()).pw_name, "environment": dict(os.environ)}))
"""


@pytest.fixture
def host(hosts: dict[str, Host]) -> Host:
    return hosts["web1"]


@pytest.fixture
def release(host: Host) -> Iterator[None]:
    host.check_output(
        "mkdir -p /opt/obcms/releases/1 && python3 -m venv --without-pip /opt/obcms/releases/1/venv && ln -sfn releases/1 /opt/obcms/current"
    )
    host.check_output("printf %%s %s > /opt/obcms/releases/1/manage.py", PROGRAM)
    yield
    host.check_output("rm -rf /opt/obcms/current /opt/obcms/releases/1")


def test_without_a_release_the_commands_say_so(host: Host) -> None:
    done = host.run("obcms-manage check")
    assert (done.rc, "holds no release" in done.stderr) == (66, True)


def test_what_a_command_sees(host: Host, release: None) -> None:
    seen = json.loads(host.check_output("obcms-manage check --deploy"))
    environment = seen["environment"]
    assert (seen["arguments"], seen["user"]) == (["check", "--deploy"], "obcms")
    assert environment["GREETING"] == "two words, 'quotes' and $HOME"
    assert environment["EMAIL_HOST"] == "mail.example.org"
    assert (environment["DEBUG"], environment["ALLOWED_HOSTS"].split(",")[0]) == ("0", "obcms.lab.internal")
    assert len(environment["SECRET_KEY"]) >= 50
    account = urllib.parse.urlsplit(environment["DATABASE_URL"])
    assert urllib.parse.unquote(account.password or "") == "p/w:with@marks#and ${DOLLAR}"
    assert urllib.parse.unquote(account.hostname or "") == "/run/postgresql"


def test_another_release_can_be_named(host: Host, release: None) -> None:
    assert host.run("RELEASE=1 obcms-manage check").rc == 0
    assert host.run("RELEASE=2 obcms-manage check").rc == 66


def test_secrets_are_for_the_application_only(host: Host) -> None:
    for path, owner in (("/etc/obcms/obcms.env", ("root", "obcms", 0o640)), ("/etc/obcms/migrate.env", ("root", "root", 0o600))):
        found = host.file(path)
        assert (found.user, found.group, found.mode) == owner
    assert host.run("runuser -u nobody -- cat /etc/obcms/obcms.env").rc != 0
    assert host.run("runuser -u obcms -- cat /etc/obcms/migrate.env").rc != 0


def test_uploads_have_the_same_owner_on_every_host(host: Host) -> None:
    assert host.user("obcms").uid == 890
    assert host.group("obcms").gid == 890
    assert host.user("obcms").shell == "/usr/sbin/nologin"
    assert (host.file("/srv/obcms/media").user, host.file("/srv/obcms/media").mode) == ("obcms", 0o755)
    host.check_output("runuser -u obcms -- touch /srv/obcms/media/.incoming/here")
    assert host.run("runuser -u nobody -- ls /srv/obcms/media/.incoming").rc != 0
