"""Ask something that may hang, and go on without it.

While the database fails over, a query waits in the pooler for as long as that takes. A page may
wait with it; a readiness probe or a scrape must not.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections


def _alone(question: Callable[[], Any]) -> Any:
    try:
        return question()
    finally:
        # Nobody else would ever close a connection opened in this thread.
        connections.close_all()


class Asker:
    """At most one thread per kind of question, however often it is asked."""

    def __init__(self) -> None:
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: dict[str, Future[Any]] = {}

    def begin(self, name: str, question: Callable[[], Any]) -> Future[Any]:
        running = self._running.get(name)
        if running is not None and not running.done():
            return running
        # Made at the first question: threads do not survive the fork of a preloading server.
        pool = self._pools.setdefault(name, ThreadPoolExecutor(1, thread_name_prefix=name))
        self._running[name] = pool.submit(_alone, question)
        return self._running[name]


asker = Asker()
