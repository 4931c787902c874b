from __future__ import annotations

import socket
import time
from datetime import datetime, timedelta

from celery import Task, shared_task
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from .models import HeartBeat, TaskRun

KEEP_HEART_BEATS = timedelta(days=1)


@shared_task
def run(task_run_id: str) -> str:
    """Take the asked-for time and write down where; safe to run again after a lost worker."""
    TaskRun.objects.filter(pk=task_run_id).update(
        state=TaskRun.State.RUNNING,
        starts=F("starts") + 1,
        worker=socket.gethostname(),
        started_at=timezone.now(),
    )
    seconds = TaskRun.objects.values_list("seconds", flat=True).get(pk=task_run_id)
    time.sleep(seconds)
    TaskRun.objects.filter(pk=task_run_id).update(state=TaskRun.State.DONE, finished_at=timezone.now())
    return socket.gethostname()


@shared_task(ignore_result=True)
def clear_sessions() -> None:
    """Sessions that have run out stay in the table until somebody takes them away."""
    call_command("clearsessions")


@shared_task(bind=True, ignore_result=True)
def heartbeat(self: Task, beat_host: str) -> None:
    sent_at = datetime.fromisoformat(self.request.get("sent_at") or timezone.now().isoformat())
    HeartBeat.objects.update_or_create(
        pk=self.request.id,
        defaults={"sent_at": sent_at, "beat_host": beat_host, "worker_host": socket.gethostname()},
    )
    HeartBeat.objects.filter(sent_at__lt=timezone.now() - KEEP_HEART_BEATS).delete()
