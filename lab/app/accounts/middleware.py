"""A one-time password opens one page: the one to choose a password of one's own."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect

ALWAYS_OPEN = ("/login", "/logout", "/password", "/static")


class OwnPasswordMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated:
            return self.get_response(request)
        if user.organisation:
            request.organisation_code = user.organisation.code
        if user.must_change_password and not request.path_info.startswith(ALWAYS_OPEN):
            if request.path_info.startswith("/api/"):
                return JsonResponse({"error": "choose a password of your own at /password/"}, status=403)
            return redirect("/password/")
        return self.get_response(request)
