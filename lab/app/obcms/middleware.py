"""Counting every request, and keeping the admin pages to known addresses."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden

from .instruments import (
    DURATION,
    EXCEPTIONS,
    ORGANISATION_DURATION,
    ORGANISATION_REQUESTS,
    REQUESTS,
)

Handler = Callable[[HttpRequest], HttpResponse]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def endpoint_of(request: HttpRequest) -> str:
    """The route's pattern, never the path: labels must stay few whatever clients ask for."""
    match = request.resolver_match
    if match is None:
        return "unmatched"
    return "admin" if match.app_name == "admin" else f"/{match.route}"


class MetricsMiddleware:
    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        endpoint = endpoint_of(request)
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(endpoint, method, str(response.status_code)).inc()
        DURATION.labels(endpoint).observe(seconds)
        organisation = getattr(request, "organisation_code", None)
        if organisation:
            status_class = f"{response.status_code // 100}xx"
            ORGANISATION_REQUESTS.labels(organisation, status_class).inc()
            ORGANISATION_DURATION.labels(organisation).observe(seconds)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        EXCEPTIONS.labels(endpoint_of(request), type(exception).__name__).inc()


class AdminAddressMiddleware:
    """/admin/ answers to ADMIN_IP_WHITELIST only; with an empty list it answers to nobody."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/admin") and not self._allowed(client_address(request)):
            return HttpResponseForbidden("The admin pages are not open to your address.\n", content_type="text/plain")
        return self.get_response(request)

    @staticmethod
    def _allowed(address: str) -> bool:
        if settings.DEBUG and not settings.ADMIN_IP_WHITELIST:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in settings.ADMIN_IP_WHITELIST)


def client_address(request: HttpRequest) -> str:
    """The last entry is the one our own balancer wrote; those before it are the client's word."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return forwarded.rsplit(",", 1)[-1].strip() or request.META.get("REMOTE_ADDR", "")
