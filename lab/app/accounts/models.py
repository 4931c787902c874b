"""Organisations (the tenants) and their users."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac


class OrganisationQuerySet(models.QuerySet["Organisation"]):
    def with_counts(self) -> OrganisationQuerySet:
        people = ~Q(users__role=User.Role.SERVICE)
        return self.annotate(
            user_count=Count("users", filter=people),
            logged_in_count=Count("users", filter=people & Q(users__last_login__isnull=False)),
        ).order_by("code")


class Organisation(models.Model):
    class Type(models.TextChoices):
        MINISTRY = "ministry"
        OFFICE = "office"
        AGENCY = "agency"
        COMMISSION = "commission"
        SPECIAL = "special"
        OTHER = "other"

    code = models.CharField(max_length=20, unique=True, validators=[RegexValidator(r"^[A-Z0-9][A-Z0-9-]*$")])
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=20, choices=Type.choices, default=Type.MINISTRY)
    wave = models.PositiveSmallIntegerField(null=True, blank=True)
    modules = models.JSONField(default=list, blank=True)
    active = models.BooleanField(default=False)
    # Part of every session's fingerprint: one more ends all sessions of the organisation at once.
    session_epoch = models.PositiveIntegerField(default=0)
    onboarded_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganisationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.code

    @property
    def state(self) -> str:
        if self.active:
            return "onboarded"
        return "suspended" if self.suspended_at else "planned"

    def bring_on_board(self) -> None:
        now = timezone.now()
        self.active, self.suspended_at = True, None
        self.onboarded_at = self.onboarded_at or now

    def suspend(self) -> None:
        self.active, self.suspended_at = False, timezone.now()
        self.session_epoch += 1


class UserManager(DjangoUserManager["User"]):
    def get_queryset(self) -> models.QuerySet[User]:
        # The organisation decides at every request whether its users may come in.
        return super().get_queryset().select_related("organisation")


class User(AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin"
        STAFF = "staff"
        VIEWER = "viewer"
        # Accounts of the platform itself (smoke tests, proofs); they count nowhere as users.
        SERVICE = "service"

    IMPORTABLE_ROLES = (Role.ADMIN.value, Role.STAFF.value, Role.VIEWER.value)

    class WelcomeMail(models.TextChoices):
        NONE = "none"
        # Written down before the mail server is asked: after a crash in between nobody can know
        # whether the mail went out, and it must not go out twice.
        SENDING = "sending"
        SENT = "sent"
        IN_FILE = "in-file"

    organisation = models.ForeignKey(Organisation, null=True, blank=True, on_delete=models.PROTECT, related_name="users")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.STAFF)
    full_name = models.CharField(max_length=200, blank=True)
    must_change_password = models.BooleanField(default=False)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    welcome_mail = models.CharField(max_length=10, choices=WelcomeMail.choices, default=WelcomeMail.NONE)

    objects = UserManager()

    @property
    def may_enter(self) -> bool:
        return self.is_active and (self.organisation is None or self.organisation.active)

    def get_full_name(self) -> str:
        return self.full_name or super().get_full_name()

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        epoch = self.organisation.session_epoch if self.organisation else 0
        return salted_hmac("accounts.User.session", f"{self.password}:{epoch}", secret=secret, algorithm="sha256").hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {
            "username": self.username,
            "full_name": self.get_full_name(),
            "organisation": self.organisation.code if self.organisation else None,
            "role": self.role,
        }
