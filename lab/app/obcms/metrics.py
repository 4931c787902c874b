"""The text behind /metrics: what this host counted, and what the whole fleet shares.

Fleet-wide values (queues, workers, organisations) come from Redis and the database and read the
same on every application host: use max() over instances for them, never sum().
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from .cache import redis_client
from .instruments import DIRECTORY
from .patience import asker

log = logging.getLogger(__name__)
QUEUES = ("celery",)
WORKERS_KEY = "obcms:celery:workers"
TASKS_KEY = "obcms:celery:tasks"
WORKER_ALIVE_SECONDS = 60
FLEET_SECONDS = 10.0
DATABASE_SECONDS = 3.0


class FleetCollector:
    """Values the fleet shares; kept for a few seconds so that scrapes stay cheap."""

    def __init__(self) -> None:
        self._until = 0.0
        self._families: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        now = time.monotonic()
        if now >= self._until:
            self._families = [*self._build(), *self._broker(), *self._database()]
            self._until = now + FLEET_SECONDS
        return self._families

    def _build(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("obcms_build_info", "The running release.", labels=["version", "host"])
        build.add_metric([settings.APP_VERSION, socket.gethostname()], 1)
        yield build

    def _broker(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("obcms_broker_up", "1 when the task broker answers.")
        if not settings.CELERY_BROKER_URL.startswith(("redis", "rediss", "unix")):
            return
        try:
            families = self._ask_broker()
            up.add_metric([], 1)
        except (redis.RedisError, OSError) as error:
            log.warning("metrics: the broker gave no answer: %s", type(error).__name__)
            families = []
            up.add_metric([], 0)
        yield up
        yield from families

    def _ask_broker(self) -> list[Metric]:
        length = GaugeMetricFamily("obcms_celery_queue_length", "Tasks waiting in the broker.", labels=["queue"])
        unacked = GaugeMetricFamily("obcms_celery_unacknowledged", "Tasks fetched by a worker and not finished.")
        workers = GaugeMetricFamily("obcms_celery_workers", "Workers heard of within the last minute.")
        tasks = CounterMetricFamily("obcms_celery_tasks", "Tasks ended, by their end.", labels=["state"])
        broker = redis_client(settings.CELERY_BROKER_URL)
        for queue in QUEUES:
            length.add_metric([queue], broker.llen(queue))
        unacked.add_metric([], broker.hlen("unacked"))
        shared = redis_client()
        workers.add_metric([], shared.zcount(WORKERS_KEY, time.time() - WORKER_ALIVE_SECONDS, "+inf"))
        counted: dict[Any, Any] = shared.hgetall(TASKS_KEY)
        for state in ("success", "failure", "retry", "revoked"):
            tasks.add_metric([state], float(counted.get(state.encode(), 0)))
        return [length, unacked, workers, tasks]

    def _database(self) -> Iterator[Metric]:
        organisations = GaugeMetricFamily(
            "obcms_organisation_state",
            "1 for the state an organisation is in.",
            labels=["organisation", "type", "wave", "state"],
        )
        users = GaugeMetricFamily("obcms_organisation_users", "Accounts of an organisation.", labels=["organisation"])
        logged_in = GaugeMetricFamily(
            "obcms_organisation_users_logged_in",
            "Accounts that have logged in at least once.",
            labels=["organisation"],
        )
        try:
            found, beat = asker.begin("metrics", self._look).result(DATABASE_SECONDS)
        except (DatabaseError, FutureTimeout) as error:
            log.warning("metrics: the database gave no answer: %s", type(error).__name__)
            return
        for row in found:
            wave = "" if row.wave is None else str(row.wave)
            organisations.add_metric([row.code, row.type, wave, row.state], 1)
            users.add_metric([row.code], row.user_count)
            logged_in.add_metric([row.code], row.logged_in_count)
        yield from (organisations, users, logged_in)
        yield GaugeMetricFamily("obcms_beat_ticks", "Ticks of the beat within two minutes.", beat["ticks"])
        yield GaugeMetricFamily("obcms_beat_ticks_too_close", "Ticks that a second beat must have sent.", beat["too_close"])
        if beat["age_seconds"] is not None:
            yield GaugeMetricFamily("obcms_beat_age_seconds", "Time since the latest tick.", beat["age_seconds"])

    @staticmethod
    def _look() -> tuple[list[Any], dict[str, Any]]:
        from accounts.models import Organisation
        from work.beat import beat_state

        return list(Organisation.objects.with_counts()), beat_state()


_fleet = FleetCollector()


def exposition() -> bytes:
    registry = CollectorRegistry()
    if DIRECTORY:
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(_fleet)
    return generate_latest(registry)
