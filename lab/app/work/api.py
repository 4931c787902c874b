"""JSON for programs: the same session, the same limits, the same walls between organisations."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_http_methods

from .models import Record, TaskRun
from .services import MAX_TASK_SECONDS, queue_task

PAGE = 50
View = Callable[..., HttpResponse]


def signed_in(view: View) -> View:
    """401 as JSON, where a page would lead to the login form."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "log in first"}, status=401)
        if request.method == "POST" and request.user.organisation is None:
            return JsonResponse({"error": "your account belongs to no organisation"}, status=403)
        return view(request, *args, **kwargs)

    return wrapper


def body_of(request: HttpRequest) -> dict[str, Any]:
    if request.content_type != "application/json":
        return dict(request.POST.items())
    parsed = json.loads(request.body or b"{}")
    if not isinstance(parsed, dict):
        raise ValueError("send one JSON object")
    return parsed


@require_GET
@signed_in
def me(request: HttpRequest) -> HttpResponse:
    return JsonResponse({**request.user.as_dict(), "version": settings.APP_VERSION, "host": socket.gethostname()})


@require_http_methods(["GET", "POST"])
@signed_in
def records(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        visible = Record.objects.visible_to(request.user)
        return JsonResponse({"count": visible.count(), "records": [r.as_dict() for r in visible[:PAGE]]})
    try:
        body = body_of(request)
    except ValueError as error:
        return JsonResponse({"error": str(error)}, status=400)
    title = str(body.get("title", "")).strip()
    if not title or len(title) > 200:
        return JsonResponse({"error": "title: 1 to 200 characters are needed"}, status=400)
    record = Record.objects.create(
        organisation=request.user.organisation,
        created_by=request.user,
        title=title,
        body=str(body.get("body", "")),
    )
    return JsonResponse(record.as_dict(), status=201)


@require_GET
@signed_in
def record(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Record.objects.visible_to(request.user), pk=pk)
    return JsonResponse(found.as_dict())


@require_http_methods(["GET", "POST"])
@signed_in
def tasks(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        visible = TaskRun.objects.visible_to(request.user)
        return JsonResponse({"tasks": [task.as_dict() for task in visible[:PAGE]]})
    try:
        seconds = float(body_of(request).get("seconds", 0))
    except (TypeError, ValueError):
        seconds = -1
    if not 0 <= seconds <= MAX_TASK_SECONDS:
        return JsonResponse({"error": f"seconds: 0 to {MAX_TASK_SECONDS}"}, status=400)
    return JsonResponse(queue_task(request.user, seconds).as_dict(), status=202)


@require_GET
@signed_in
def task(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = get_object_or_404(TaskRun.objects.visible_to(request.user), pk=pk)
    return JsonResponse(found.as_dict())
