from __future__ import annotations

from accounts.models import User
from obcms.instruments import TASKS_QUEUED

from . import tasks
from .models import TaskRun

MAX_TASK_SECONDS = 200


def queue_task(user: User, seconds: float) -> TaskRun:
    # Outside any transaction: the row is there before a worker can look for it.
    run = TaskRun.objects.create(organisation=user.organisation, created_by=user, seconds=seconds)
    tasks.run.delay(str(run.pk))
    TASKS_QUEUED.labels(user.organisation.code).inc()
    return run
