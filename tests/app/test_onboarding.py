from __future__ import annotations

import csv
import smtplib
import stat
from pathlib import Path
from typing import Any

import pytest

AIDA = "MOH,Aida Sali,aida@example.org,aida,admin"
BEN = "MOH,Ben Kulo,ben@example.org,ben,staff"
CORA = "MOLE,Cora Mang,cora@example.org,cora,viewer"


def onboard(command: Any, users: Path, *more: str) -> dict[str, Any]:
    return command("onboard_moa", "MOH", "--name", "Ministry of Health", "--wave", "1", "--users", str(users), *more)  # type: ignore[no-any-return]


def passwords_in(path: Path) -> dict[str, str]:
    with path.open(newline="") as stream:
        return {row["username"]: row["password"] for row in csv.DictReader(stream)}


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    return tmp_path / "passwords.csv"


def test_onboarding_twice_changes_nothing(command: Any, user_list: Any, password_file: Path) -> None:
    users = user_list(AIDA, BEN, CORA)
    first = onboard(command, users, "--password-file", str(password_file))
    before = password_file.read_bytes()
    second = onboard(command, users, "--password-file", str(password_file))
    assert first["users"] == {"created": 2, "updated": 0, "unchanged": 0}
    assert (first["changed"], second["changed"]) == (True, False)
    assert second["users"] == {"created": 0, "updated": 0, "unchanged": 2}
    assert password_file.read_bytes() == before


def test_passwords_are_in_the_file_and_nowhere_else(command: Any, user_list: Any, password_file: Path, capfd: Any) -> None:
    answer = onboard(command, user_list(AIDA, BEN), "--password-file", str(password_file))
    passwords = passwords_in(password_file)
    assert set(passwords) == {"aida", "ben"}
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    seen = str(answer) + "".join(capfd.readouterr())
    assert not [word for word in passwords.values() if word in seen]


def test_a_one_time_password_opens_the_password_page_only(command: Any, user_list: Any, password_file: Path, client: Any) -> None:
    onboard(command, user_list(AIDA), "--password-file", str(password_file))
    old, new = passwords_in(password_file)["aida"], "an-own-long-phrase"
    assert client.login(username="aida", password=old)
    assert client.get("/")["Location"] == "/password/"
    assert client.get("/api/me/").status_code == 403
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    assert client.post("/password/", form)["Location"] == "/"
    assert client.get("/").status_code == 200


def test_a_second_list_adds_to_the_password_file(command: Any, user_list: Any, password_file: Path) -> None:
    onboard(command, user_list(AIDA), "--password-file", str(password_file))
    first = passwords_in(password_file)["aida"]
    onboard(command, user_list(AIDA, BEN), "--password-file", str(password_file))
    assert passwords_in(password_file).keys() == {"aida", "ben"}
    assert passwords_in(password_file)["aida"] == first


def test_a_corrected_list_corrects_the_users(command: Any, user_list: Any, password_file: Path) -> None:
    from accounts.models import User

    onboard(command, user_list(AIDA), "--password-file", str(password_file))
    answer = onboard(command, user_list(AIDA.replace("admin", "viewer")), "--password-file", str(password_file))
    assert answer["users"]["updated"] == 1
    assert User.objects.get(username="aida").role == "viewer"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([AIDA, AIDA], "username aida occurs 2 times"),
        ([AIDA, BEN.replace("ben@", "aida@")], "email aida@example.org occurs 2 times"),
        ([AIDA.replace("admin", "king")], "line 2: role 'king' is unknown"),
        ([AIDA.replace("admin", "service")], "role 'service' is unknown"),
        ([AIDA.replace("aida@example.org", "aida")], "email 'aida' is not valid"),
        ([AIDA.replace(",aida,", ",,")], "line 2: username is empty"),
        ([AIDA + ",extra"], "line 2 has 6 columns"),
        ([CORA], "has no user of MOH"),
    ],
)
def test_a_bad_list_is_refused_whole(command: Any, user_list: Any, password_file: Path, lines: list[str], message: str) -> None:
    from django.core.management import CommandError

    from accounts.models import Organisation, User

    with pytest.raises(CommandError, match=message):
        onboard(command, user_list(*lines), "--password-file", str(password_file))
    assert not Organisation.objects.exists()
    assert not User.objects.exists()
    assert not password_file.exists()


def test_headings_as_people_write_them(command: Any, user_list: Any, password_file: Path) -> None:
    users = user_list(AIDA, header="\ufeffOrganisation code,Full name,E-mail,Username,Role")
    assert onboard(command, users, "--password-file", str(password_file))["users"]["created"] == 1


def test_a_username_of_another_organisation_is_refused(command: Any, user_list: Any, password_file: Path, member: Any) -> None:
    from django.core.management import CommandError

    from accounts.models import Organisation

    member("aida", "MOLE")
    with pytest.raises(CommandError, match=r"aida \(MOLE\)"):
        onboard(command, user_list(AIDA), "--password-file", str(password_file))
    assert not Organisation.objects.filter(code="MOH").exists()


def test_a_person_gets_no_second_account_under_another_username(command: Any, user_list: Any, password_file: Path) -> None:
    from django.core.management import CommandError

    from accounts.models import User

    onboard(command, user_list(AIDA, BEN), "--password-file", str(password_file))
    twice = AIDA.replace(",aida,", ",aida.sali,").replace("aida@", "Aida@")
    with pytest.raises(CommandError, match=r"aida@example.org of aida.sali is aida \(MOH\); correct username or e-mail"):
        onboard(command, user_list(twice, BEN), "--password-file", str(password_file))
    # Nor by a correction of an account that is there.
    with pytest.raises(CommandError, match=r"aida@example.org of ben is aida \(MOH\)"):
        onboard(command, user_list(BEN.replace("ben@", "aida@")), "--password-file", str(password_file))
    assert User.objects.count() == 2
    # Two that were mixed up are set right by one list.
    mixed = user_list(AIDA.replace("aida@", "ben@"), BEN.replace("ben@", "aida@"))
    assert onboard(command, mixed, "--password-file", str(password_file))["users"]["updated"] == 2


def test_passwords_that_reach_nobody_are_refused(command: Any, user_list: Any) -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="--password-file FILE or --mail"):
        onboard(command, user_list(AIDA))


def test_a_new_organisation_needs_a_name_and_a_sound_code(command: Any) -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="MOH is new and needs --name"):
        command("onboard_moa", "MOH")
    with pytest.raises(CommandError, match="mo h"):
        command("onboard_moa", "mo h", "--name", "x")


def test_a_mail_goes_out_once(command: Any, user_list: Any, client: Any) -> None:
    from django.core import mail

    users = user_list(AIDA, BEN)
    assert onboard(command, users, "--mail")["mails"]["sent"] == 2
    assert onboard(command, users, "--mail")["changed"] is False
    assert sorted(message.to[0] for message in mail.outbox) == ["aida@example.org", "ben@example.org"]
    text = next(message.body for message in mail.outbox if message.to == ["aida@example.org"])
    password = text.split("password")[1].split()[0]
    assert client.login(username="aida", password=password)


def test_a_mail_that_was_refused_is_sent_by_the_next_run(command: Any, user_list: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core import mail
    from django.core.mail import EmailMessage
    from django.core.management import CommandError

    def refuse(self: Any) -> int:
        raise smtplib.SMTPRecipientsRefused({})

    users = user_list(AIDA)
    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", refuse)
        with pytest.raises(CommandError, match="mails are missing"):
            onboard(command, users, "--mail")
    assert onboard(command, users, "--mail")["mails"]["sent"] == 1
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("error", [TimeoutError(), OSError("no route"), smtplib.SMTPServerDisconnected(), smtplib.SMTPConnectError(421, "busy")])
def test_a_mail_server_that_was_never_reached_has_no_mail(command: Any, user_list: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from django.core import mail
    from django.core.mail.backends.locmem import EmailBackend
    from django.core.management import CommandError

    def fail(self: Any) -> None:
        raise error

    users = user_list(AIDA)
    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "open", fail)
        with pytest.raises(CommandError, match="mails are missing"):
            onboard(command, users, "--mail")
    assert onboard(command, users, "--mail")["mails"]["sent"] == 1
    assert len(mail.outbox) == 1


def test_two_runs_at_once_send_each_mail_once(command: Any, user_list: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a controller was killed: its command still sends when the wave is resumed."""
    from django.core import mail

    from onboarding import services

    users = user_list(AIDA, BEN)
    onboard(command, users, "--mail")
    services.User.objects.update(welcome_mail=services.Mail.NONE)
    mail.outbox.clear()
    make: Any = services.one_time_password
    runs: list[Any] = [{}]

    def while_another_run_sends() -> str:
        if runs == [{}]:
            runs.clear()
            runs.append(onboard(command, users, "--mail"))
        return make()

    monkeypatch.setattr(services, "one_time_password", while_another_run_sends)
    assert onboard(command, users, "--mail")["mails"]["sent"] == 0
    assert runs[0]["mails"]["sent"] == 2
    assert sorted(message.to[0] for message in mail.outbox) == ["aida@example.org", "ben@example.org"]


def test_a_mail_lost_in_the_middle_is_reported_and_not_repeated(command: Any, user_list: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core import mail
    from django.core.mail import EmailMessage
    from django.core.management import CommandError

    def lose(self: Any) -> int:
        raise smtplib.SMTPServerDisconnected

    users = user_list(AIDA)
    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", lose)
        with pytest.raises(CommandError, match="--mail-again"):
            onboard(command, users, "--mail")
    with pytest.raises(CommandError):
        onboard(command, users, "--mail")
    assert mail.outbox == []
    assert onboard(command, users, "--mail", "--mail-again")["mails"]["sent"] == 1


def test_whose_mails_are_missing_is_said_by_name(command: Any, user_list: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.mail import EmailMessage
    from django.core.management import CommandError

    ends = {"aida@example.org": smtplib.SMTPRecipientsRefused({}), "ben@example.org": smtplib.SMTPServerDisconnected()}

    def fail(self: Any) -> int:
        raise ends[self.to[0]]

    monkeypatch.setattr(EmailMessage, "send", fail)
    said = "not sent to aida: run it again; perhaps sent to ben: ask them, or send once more with --mail-again"
    with pytest.raises(CommandError, match=f"onboard_moa: MOH is on board, but mails are missing: {said}"):
        onboard(command, user_list(AIDA, BEN), "--mail")
    with pytest.raises(CommandError, match=f"mails to users of MOH are missing: {said}"):
        command("import_users", str(user_list(AIDA, BEN)), "--organisation", "MOH", "--mail")


def test_many_names_are_cut_short() -> None:
    from onboarding.services import names_of

    assert names_of(["a", "b"]) == "a, b"
    assert names_of([str(number) for number in range(22)]).endswith(", 18, 19 and 2 more")


def test_import_users_into_an_organisation_on_board(command: Any, user_list: Any, password_file: Path, member: Any) -> None:
    member("zara")
    arguments = (str(user_list(AIDA)), "--organisation", "MOH", "--password-file", str(password_file))
    assert command("import_users", *arguments)["users"]["created"] == 1
    assert command("import_users", *arguments)["changed"] is False


def test_status_counts_people_and_not_service_accounts(command: Any, member: Any) -> None:
    member("aida")
    member("proof", role="service")
    status = command("moa_status", "MOH")["organisations"][0]
    assert (status["state"], status["users"], status["users_enabled"]) == ("onboarded", 1, 1)
    assert command("moa_status", "NONE")["organisations"] == [{"code": "NONE", "state": "absent"}]


def test_pilot_organisations_wait_until_they_are_on_board(command: Any) -> None:
    assert command("load_pilot_moas")["created"] == ["MOH", "MOLE", "MAFAR"]
    assert command("load_pilot_moas")["changed"] is False
    assert command("moa_status")["states"] == {"planned": 3}


def test_ensure_user_twice_changes_nothing(command: Any, member: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    member()
    arguments = ("ensure_user", "smoke", "--organisation", "MOH", "--role", "service", "--password-env", "SMOKE")
    monkeypatch.setenv("SMOKE", "a-known-password")
    assert command(*arguments)["created"] is True
    assert command(*arguments)["changed"] is False
    assert client.login(username="smoke", password="a-known-password")
    monkeypatch.setenv("SMOKE", "another-password")
    assert command(*arguments)["fields"] == ["password"]


def test_every_type_of_the_plan_is_known(command: Any) -> None:
    for number, kind in enumerate(("ministry", "office", "agency", "commission", "special")):
        assert command("onboard_moa", f"M{number}", "--name", "x", "--type", kind)["state"] == "onboarded"


def test_a_second_run_asks_the_database_a_few_times_only(command: Any, user_list: Any, password_file: Path, django_queries: Any) -> None:
    from accounts.models import User

    users = user_list(*(f"MOH,User {n},user{n}@example.org,user{n},staff" for n in range(60)))
    onboard(command, users, "--password-file", str(password_file))
    with django_queries() as queries:
        onboard(command, users, "--password-file", str(password_file))
    assert User.objects.count() == 60
    assert len(queries) < 15


def test_runs_side_by_side_lose_no_password(password_file: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from onboarding.passwords import write_passwords

    def add(number: int) -> None:
        write_passwords(password_file, [{"organisation": "MOH", "username": f"u{number}", "email": "", "password": "x"}])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(passwords_in(password_file)) == 40


def test_lost_passwords_are_made_again_for_those_who_never_came_in(command: Any, user_list: Any, password_file: Path, client: Any) -> None:
    users = user_list(AIDA, BEN)
    onboard(command, users, "--password-file", str(password_file))
    first = passwords_in(password_file)
    assert client.login(username="aida", password=first["aida"])
    password_file.unlink()
    again = onboard(command, users, "--password-file", str(password_file), "--passwords-again")
    second = passwords_in(password_file)
    assert (again["users"], set(second)) == ({"created": 0, "updated": 1, "unchanged": 1}, {"ben"})
    assert client.login(username="ben", password=second["ben"])
    assert not client.login(username="ben", password=first["ben"])


def test_onboarding_makes_the_account_that_proves_it(command: Any, tmp_path: Path, client: Any) -> None:
    secrets = tmp_path / "proof.json"
    secrets.write_text('{"proof-moh": "a-known-password"}')
    arguments = ("onboard_moa", "MOH", "--name", "Health", "--service-user", "proof-moh", "--service-passwords", str(secrets))
    assert command(*arguments)["changed"] is True
    assert command(*arguments)["changed"] is False
    assert client.login(username="proof-moh", password="a-known-password")
    assert command("moa_status", "MOH")["organisations"][0]["users"] == 0
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="has no password for proof-x"):
        command(*arguments[:-3], "proof-x", *arguments[-2:])


def test_one_that_cannot_be_suspended_keeps_nobody_else_in(command: Any, member: Any) -> None:
    from django.core.management import CommandError

    member()
    with pytest.raises(CommandError, match="there is no organisation NONE"):
        command("suspend_moa", "NONE", "MOH")
    assert command("moa_status", "MOH")["organisations"][0]["state"] == "suspended"
