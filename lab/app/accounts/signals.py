"""Count logins per organisation."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver

from obcms.instruments import LOGINS


def organisation_label(user: Any) -> str:
    """The code of a known organisation: whatever clients type never becomes a label."""
    return user.organisation.code if user is not None and user.organisation else "none"


@receiver(user_logged_in)
def count_login(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    LOGINS.labels(organisation_label(user), "success").inc()
    if user.organisation:
        request.organisation_code = user.organisation.code


@receiver(user_login_failed)
def count_failed_login(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    username = str(credentials.get("username", ""))[:150]
    user = get_user_model().objects.filter(username=username).first()
    LOGINS.labels(organisation_label(user), "failure").inc()
