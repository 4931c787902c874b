"""/health/, /ready/ and /metrics, answered before any host name, session or redirect is looked at.

Balancers and Prometheus ask each host by its address, which no ALLOWED_HOSTS names.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from .cache import redis_client
from .metrics import exposition
from .patience import asker

log = logging.getLogger(__name__)
CHECK_SECONDS = 3.0


def check_database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def check_cache() -> bool:
    if not settings.REDIS_URL:
        return bool(settings.DEBUG)
    client = redis_client()
    # A write: a replica that lost its master still answers reads.
    client.set("obcms:ready", "1", ex=60)
    return client.get("obcms:ready") in (b"1", "1")


CHECKS: dict[str, Callable[[], bool]] = {"database": check_database, "cache": check_cache}


def answer(name: str, future: Future[bool]) -> bool:
    try:
        return future.result(timeout=CHECK_SECONDS)
    except FutureTimeout:
        log.warning("readiness: %s gave no answer within %s s", name, CHECK_SECONDS)
    except Exception as error:
        log.warning("readiness: %s failed: %s", name, type(error).__name__)
    return False


def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "healthy", "service": "obcms", "version": settings.APP_VERSION})


def ready(request: HttpRequest) -> HttpResponse:
    asked = {name: asker.begin(f"ready-{name}", check) for name, check in CHECKS.items()}
    checks = {name: answer(name, future) for name, future in asked.items()}
    fine = all(checks.values())
    return JsonResponse({"status": "ready" if fine else "not ready", "checks": checks}, status=200 if fine else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    given = request.headers.get("Authorization", "")
    expected = f"Bearer {settings.METRICS_TOKEN}"
    if settings.METRICS_TOKEN and not hmac.compare_digest(given.encode(), expected.encode()):
        return HttpResponse(
            "a bearer token is needed\n",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
            content_type="text/plain",
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": health,
    "/ready": ready,
    "/metrics": metrics,
}


class ProbeMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path_info.rstrip("/"))
        if probe is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        response = probe(request)
        response["Cache-Control"] = "no-store"
        response["Content-Length"] = str(len(response.content))
        return response
