"""What organisations work on, and the traces that show the platform doing its part."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from accounts.models import Organisation, User


class TenantQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: User) -> TenantQuerySet:
        """Rows of the user's own organisation; a user without one sees none."""
        if user.organisation_id is None:
            return self.none()
        return self.filter(organisation_id=user.organisation_id)


class TenantModel(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ["-id"]


class Record(TenantModel):
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["organisation", "-id"], name="record_newest")]

    def __str__(self) -> str:
        return self.title

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "title": self.title,
            "body": self.body,
            "created_at": self.created_at.isoformat(),
        }


class Upload(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    file = models.FileField(max_length=300)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]


class TaskRun(TenantModel):
    """One task asked for, and what became of it."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    seconds = models.FloatField(default=0)
    # More than one start means that a worker was lost and another one took the task over.
    starts = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.pk),
            "state": self.state,
            "seconds": self.seconds,
            "starts": self.starts,
            "worker": self.worker,
            "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
        }


class HeartBeat(models.Model):
    """A row for each tick of the beat: two within one quarter minute would mean two beats."""

    # The task's own id: a tick that a second worker runs again is still one tick.
    id = models.UUIDField(primary_key=True)
    sent_at = models.DateTimeField(db_index=True)
    done_at = models.DateTimeField(auto_now=True)
    beat_host = models.CharField(max_length=200)
    worker_host = models.CharField(max_length=200)
