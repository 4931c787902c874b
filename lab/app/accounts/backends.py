from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend


class OrganisationBackend(ModelBackend):
    """Nobody of a suspended organisation logs in, and sessions that are open count no more."""

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(user is not None and user.may_enter)
