"""What the commands do: bring an organisation on board, import its users, suspend it.

Everything can be run again. What an earlier run has done is found and left alone.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models.functions import Lower
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Organisation, User
from work.models import Record

from .passwords import one_time_password, write_passwords
from .userlist import UserRow

Mail = User.WelcomeMail
# The mail server said no: the mail is certainly not on its way.
REFUSED = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)

MAX_NAMES_SHOWN = 20


class OnboardingError(Exception):
    """Nothing was changed; the text names the culprit."""


@dataclass
class ImportResult:
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.created or self.updated)

    def as_dict(self) -> dict[str, Any]:
        return {"created": len(self.created), "updated": len(self.updated), "unchanged": self.unchanged}


@dataclass
class MailResult:
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"sent": self.sent, "failed": self.failed, "unconfirmed": self.unconfirmed}

    @property
    def missing(self) -> str:
        """Whose mails are missing and what to do about them; empty where none is."""
        words = [f"not sent to {names_of(self.failed)}: run it again"] if self.failed else []
        words += [f"perhaps sent to {names_of(self.unconfirmed)}: ask them, or send once more with --mail-again"] if self.unconfirmed else []
        return "; ".join(words)


def names_of(usernames: list[str]) -> str:
    """The first of them by name: the text ends in one line of a table."""
    more = len(usernames) - MAX_NAMES_SHOWN
    return ", ".join(usernames[:MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def ensure_organisation(code: str, details: dict[str, Any]) -> tuple[Organisation, bool, list[str]]:
    """The organisation, active; whether it is new; the names of the fields that changed."""
    given = {name: value for name, value in details.items() if value is not None}
    organisation = Organisation.objects.select_for_update().filter(code=code).first()
    created = organisation is None
    if organisation is None:
        if "name" not in given:
            raise OnboardingError(f"onboard_moa: {code} is new and needs --name")
        organisation = Organisation(code=code)
    changed = [name for name, value in given.items() if getattr(organisation, name) != value]
    for name in changed:
        setattr(organisation, name, given[name])
    if not organisation.active:
        organisation.bring_on_board()
        changed.append("state")
    if created or changed:
        try:
            organisation.full_clean()
        except ValidationError as error:
            raise OnboardingError(f"onboard_moa: {code}: {'; '.join(error.messages)}") from error
        organisation.save()
    if created or not Record.objects.filter(organisation=organisation).exists():
        Record.objects.create(organisation=organisation, title=f"{code} is on board")
    return organisation, created, changed


def rows_of(organisation_code: str, rows: Iterable[UserRow], path: Path) -> list[UserRow]:
    found = [row for row in rows if row.organisation_code == organisation_code]
    if not found:
        raise OnboardingError(f"{path}: has no user of {organisation_code}")
    return found


def import_users(organisation: Organisation, rows: list[UserRow], password_file: Path | None, again: bool = False) -> ImportResult:
    """Create what is missing and correct what differs; to be called inside a transaction.

    `again` is for passwords that were lost on their way: whoever never came in gets a new one in the file.
    """
    known = {user.username: user for user in User.objects.filter(username__in=[row.username for row in rows])}
    foreign = [name for name, user in known.items() if user.organisation_id != organisation.pk]
    if foreign:
        owners = ", ".join(f"{name} ({known[name].organisation})" for name in foreign)
        raise OnboardingError(f"{organisation}: these usernames belong to others already: {owners}")
    if held := _held_by_others(rows, known):
        raise OnboardingError(f"{organisation}: these people have an account already: {'; '.join(held)}; correct username or e-mail in the list")
    result = ImportResult()
    passwords = []
    for row in rows:
        user = known.get(row.username)
        if user is None:
            passwords.append(_create(organisation, row, password_file))
            result.created.append(row.username)
        elif again and password_file and _never_came_in(user):
            passwords.append(_renew(user, row))
            result.updated.append(row.username)
        elif _correct(user, row):
            result.updated.append(row.username)
        else:
            result.unchanged += 1
    if passwords and password_file:
        write_passwords(password_file, passwords)
    return result


def _held_by_others(rows: Iterable[UserRow], known: Mapping[str, User]) -> list[str]:
    """E-mails that would be new to their accounts, but are another's already, and whose: each person has one account."""
    wanted = {row.email.lower(): row.username for row in rows if row.username not in known or known[row.username].email.lower() != row.email.lower()}
    if not wanted:
        return []
    # Accounts of the list itself get the addresses that it gives them, and there each occurs once.
    holders = User.objects.annotate(address=Lower("email")).filter(address__in=wanted).exclude(username__in=known).order_by("username")
    return [f"{user.email} of {wanted[user.address]} is {user.username} ({user.organisation or 'the platform'})" for user in holders]


def _create(organisation: Organisation, row: UserRow, password_file: Path | None) -> dict[str, str]:
    user = User(
        username=row.username,
        email=row.email,
        full_name=row.full_name,
        role=row.role,
        organisation=organisation,
        must_change_password=True,
        welcome_mail=Mail.IN_FILE if password_file else Mail.NONE,
    )
    password = one_time_password()
    if password_file:
        user.set_password(password)
    else:
        # Set when the mail is written: nobody knows a password before that.
        user.set_unusable_password()
    user.save()
    return {"organisation": organisation.code, "username": row.username, "email": row.email, "password": password}


def _never_came_in(user: User) -> bool:
    return user.welcome_mail == Mail.IN_FILE and user.last_login is None and user.must_change_password


def _renew(user: User, row: UserRow) -> dict[str, str]:
    _correct(user, row)
    password = one_time_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    return {"organisation": row.organisation_code, "username": row.username, "email": row.email, "password": password}


def _correct(user: User, row: UserRow) -> bool:
    differing = [name for name in ("email", "full_name", "role") if getattr(user, name) != getattr(row, name)]
    for name in differing:
        setattr(user, name, getattr(row, name))
    if differing:
        user.save(update_fields=differing)
    return bool(differing)


def send_welcome_mails(organisation: Organisation, again: bool = False) -> MailResult:
    """A mail to everybody who has had none; never twice, whatever was interrupted.

    Each account is marked before its mail is handed over. A mark left by an interrupted run means
    that the mail may have gone out: such accounts are reported, and served with `again` only.
    """
    result = MailResult()
    waiting = [Mail.NONE, Mail.SENDING] if again else [Mail.NONE]
    users = organisation.users.filter(last_login=None, must_change_password=True)
    # One connection for all; opened by the first mail, so that nothing to send needs no server.
    connection = get_connection()
    for user in users.filter(welcome_mail__in=waiting).order_by("username"):
        password = one_time_password()
        user.set_password(password)
        user.welcome_mail = Mail.SENDING
        # Another run may be sending at this moment (its controller was killed, it was not): whoever marks an account first sends its mail.
        mine = organisation.users.filter(pk=user.pk, welcome_mail__in=waiting)
        if not mine.update(password=user.password, welcome_mail=Mail.SENDING):
            continue
        if _send(user, password, connection):
            user.welcome_mail = Mail.SENT
            result.sent += 1
        elif user.welcome_mail == Mail.NONE:
            result.failed.append(user.username)
        user.save(update_fields=["welcome_mail"])
    connection.close()
    stuck = organisation.users.filter(welcome_mail=Mail.SENDING).order_by("username")
    result.unconfirmed = list(stuck.values_list("username", flat=True))
    return result


def _send(user: User, password: str, connection: Any) -> bool:
    context = {"user": user, "password": password, "base_url": settings.BASE_URL}
    message = EmailMessage(
        subject=f"Your account for OBCMS, {user.organisation.name}",
        body=render_to_string("welcome_mail.txt", context),
        to=[user.email],
        connection=connection,
    )
    reached = False
    try:
        connection.open()
        reached = True
        message.send()
    except (smtplib.SMTPException, OSError) as error:
        # Lost in the middle, the server may have taken the mail. It has not where it was never reached, for whatever reason, or said no.
        if not reached or isinstance(error, REFUSED):
            user.welcome_mail = Mail.NONE
        connection.close()
        return False
    return True


def ensure_account(username: str, password: str, wanted: dict[str, Any]) -> tuple[bool, list[str]]:
    """An account of the platform itself in the given state; whether it is new, and what changed."""
    with transaction.atomic():
        user, created = User.objects.select_for_update(of=("self",)).get_or_create(username=username)
        changed = [name for name, value in wanted.items() if getattr(user, name) != value]
        for name in changed:
            setattr(user, name, wanted[name])
        if created or not user.check_password(password):
            user.set_password(password)
            changed.append("password")
        if changed:
            user.save()
    return created, sorted(changed)


def ensure_service_account(username: str, password: str, organisation: Organisation) -> bool:
    """The account with which the platform proves an organisation by a login; whether something changed."""
    wanted = {"organisation": organisation, "role": User.Role.SERVICE, "is_active": True, "must_change_password": False}
    created, changed = ensure_account(username, password, wanted)
    return bool(created or changed)


def suspend(code: str) -> dict[str, Any]:
    with transaction.atomic():
        organisation = Organisation.objects.select_for_update().filter(code=code).first()
        if organisation is None:
            raise OnboardingError(f"suspend_moa: there is no organisation {code}")
        changed = organisation.active
        if changed:
            organisation.suspend()
            organisation.save()
    ended = end_sessions(organisation) if changed else 0
    return {"organisation": code, "state": organisation.state, "changed": changed, "sessions_ended": ended}


def end_sessions(organisation: Organisation) -> int:
    """Delete the rows; the sessions are void already, by the organisation's new epoch."""
    users = {str(pk) for pk in organisation.users.values_list("pk", flat=True)}
    live = Session.objects.filter(expire_date__gte=timezone.now())
    theirs = [session.pk for session in live.iterator() if session.get_decoded().get(SESSION_KEY) in users]
    Session.objects.filter(pk__in=theirs).delete()
    return len(theirs)
