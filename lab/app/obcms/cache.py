"""The cache: a page is slower without it, never broken."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.core.cache.backends.redis import RedisCache

from .instruments import CACHE_OPERATIONS

log = logging.getLogger(__name__)
MISSING = object()
# Redis answers READONLY or LOADING while Sentinel moves the master: both are RedisError.
UNAVAILABLE = (redis.RedisError, OSError)
# After a failure the cache is left alone for so long: a page asks it several times, and waiting for
# a dead master each time would add up to a page that looks dead itself.
REST_SECONDS = 2.0

_resting_until = 0.0


class ForgivingRedisCache(RedisCache):
    """During a failover a read is a miss and a write is skipped; /ready/ asks Redis itself."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = self._forgiving(lambda: RedisCache.get(self, key, MISSING, version), None)
        if value is None:
            return default
        CACHE_OPERATIONS.labels("miss" if value is MISSING else "hit").inc()
        return default if value is MISSING else value

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._forgiving(lambda: RedisCache.set(self, *args, **kwargs), None)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._forgiving(lambda: RedisCache.delete(self, *args, **kwargs), False))

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._forgiving(lambda: RedisCache.has_key(self, *args, **kwargs), False))

    @staticmethod
    def _forgiving(operation: Callable[[], Any], without: Any) -> Any:
        global _resting_until
        if time.monotonic() < _resting_until:
            return without
        try:
            return operation()
        except UNAVAILABLE as error:
            _resting_until = time.monotonic() + REST_SECONDS
            CACHE_OPERATIONS.labels("error").inc()
            log.warning("cache is away: %s", type(error).__name__)
            return without


_clients: dict[str, redis.Redis] = {}


def redis_client(url: str | None = None) -> redis.Redis:
    """A plain client that raises: for readiness, for counters, and for a look at the broker."""
    url = url or settings.REDIS_URL
    if url not in _clients:
        _clients[url] = redis.Redis.from_url(url, **settings.REDIS_OPTIONS)
    return _clients[url]
