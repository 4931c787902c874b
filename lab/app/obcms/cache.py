"""The cache: a page is slower without it, never broken."""

from __future__ import annotations

import logging
from typing import Any

import redis
from django.conf import settings
from django.core.cache.backends.redis import RedisCache

from .instruments import CACHE_OPERATIONS

log = logging.getLogger(__name__)
MISSING = object()
# Redis answers READONLY or LOADING while Sentinel moves the master: both are RedisError.
UNAVAILABLE = (redis.RedisError, OSError)


class ForgivingRedisCache(RedisCache):
    """During a failover a read is a miss and a write is skipped; /ready/ asks Redis itself."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        try:
            value = super().get(key, MISSING, version=version)
        except UNAVAILABLE as error:
            self._failed("get", error)
            return default
        CACHE_OPERATIONS.labels("miss" if value is MISSING else "hit").inc()
        return default if value is MISSING else value

    def set(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().set(*args, **kwargs)
        except UNAVAILABLE as error:
            self._failed("set", error)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().delete(*args, **kwargs)
        except UNAVAILABLE as error:
            self._failed("delete", error)
            return False

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().has_key(*args, **kwargs)
        except UNAVAILABLE as error:
            self._failed("has_key", error)
            return False

    def _failed(self, operation: str, error: Exception) -> None:
        CACHE_OPERATIONS.labels("error").inc()
        log.warning("cache %s failed: %s", operation, type(error).__name__)


_clients: dict[str, redis.Redis] = {}


def redis_client(url: str | None = None) -> redis.Redis:
    """A plain client that raises: for readiness, for counters, and for a look at the broker."""
    url = url or settings.REDIS_URL
    if url not in _clients:
        _clients[url] = redis.Redis.from_url(url, **settings.REDIS_OPTIONS)
    return _clients[url]
