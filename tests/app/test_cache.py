"""A page is slower without the cache, never broken."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def cache_without_redis() -> Any:
    from django.conf import settings

    from obcms.cache import ForgivingRedisCache

    # Nothing listens on port 1: every command is refused at once.
    return ForgivingRedisCache("redis://127.0.0.1:1/0", {"OPTIONS": settings.REDIS_OPTIONS})


@pytest.fixture(autouse=True)
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    from obcms import cache

    monkeypatch.setattr(cache, "_resting_until", 0.0)


def test_reads_miss_and_writes_are_skipped(cache_without_redis: Any) -> None:
    cache = cache_without_redis
    assert cache.get("key", "default") == "default"
    cache.set("key", 1)
    assert cache.delete("key") is False
    assert "key" not in cache


def test_pages_and_sessions_work_without_redis(client: Any, member: Any) -> None:
    from django.test import override_settings
    from reference import ENVIRONMENT, PASSWORD

    member()
    without = {"default": {"BACKEND": "obcms.cache.ForgivingRedisCache", "LOCATION": ENVIRONMENT["REDIS_URL"]}}
    with override_settings(CACHES=without):
        assert client.post("/login/", {"username": "aida", "password": PASSWORD}).status_code == 302
        assert client.get("/").status_code == 200


def test_readiness_asks_redis_itself() -> None:
    import redis

    from obcms.cache import redis_client

    with pytest.raises(redis.ConnectionError):
        redis_client().ping()


def test_a_cache_that_hangs_is_left_alone_for_a_while(cache_without_redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis
    from django.core.cache.backends.redis import RedisCache

    from obcms import cache

    asked = []

    def hang(*args: Any, **kwargs: Any) -> None:
        asked.append(1)
        raise redis.TimeoutError

    monkeypatch.setattr(RedisCache, "get", hang)
    for _ in range(5):
        assert cache_without_redis.get("key") is None
    assert len(asked) == 1
    monkeypatch.setattr(cache, "_resting_until", 0.0)
    cache_without_redis.get("key")
    assert len(asked) == 2
