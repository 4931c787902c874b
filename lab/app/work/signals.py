"""What workers tell the fleet: that they live, and how their tasks ended.

Workers have no page to scrape; the application hosts read these values from Redis.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

import redis
from celery import signals
from django.conf import settings

from obcms.cache import redis_client
from obcms.metrics import TASKS_KEY, WORKER_ALIVE_SECONDS, WORKERS_KEY

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 10.0

_last_heartbeat = 0.0


def _tell(*commands: tuple[Any, ...]) -> None:
    if not settings.REDIS_URL:
        return
    try:
        pipe = redis_client().pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        pipe.execute()
    except (redis.RedisError, OSError) as error:
        log.warning("worker: could not tell Redis: %s", type(error).__name__)


@signals.heartbeat_sent.connect
def worker_lives(sender: Any, **kwargs: Any) -> None:
    # The signal comes every other second; the metric needs one a minute.
    global _last_heartbeat
    if time.monotonic() - _last_heartbeat < HEARTBEAT_SECONDS:
        return
    _last_heartbeat = time.monotonic()
    now = time.time()
    _tell(
        ("ZADD", WORKERS_KEY, now, sender.eventer.hostname),
        ("ZREMRANGEBYSCORE", WORKERS_KEY, "-inf", now - 10 * WORKER_ALIVE_SECONDS),
    )


@signals.worker_shutdown.connect
def worker_ends(sender: Any, **kwargs: Any) -> None:
    _tell(("ZREM", WORKERS_KEY, sender.hostname))


@signals.before_task_publish.connect
def stamp(headers: dict[str, Any], **kwargs: Any) -> None:
    """The time of sending; a task's own start says nothing about the rhythm of the beat."""
    headers["sent_at"] = datetime.now(UTC).isoformat()


def _count(state: str) -> None:
    _tell(("HINCRBY", TASKS_KEY, state, 1))


@signals.task_success.connect
def task_succeeded(**kwargs: Any) -> None:
    _count("success")


@signals.task_failure.connect
def task_failed(**kwargs: Any) -> None:
    _count("failure")


@signals.task_retry.connect
def task_retried(**kwargs: Any) -> None:
    _count("retry")


@signals.task_revoked.connect
def task_revoked(**kwargs: Any) -> None:
    _count("revoked")
