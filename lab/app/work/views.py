from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from obcms.databases import replica_identity

from .models import Record, TaskRun, Upload
from .services import MAX_TASK_SECONDS, queue_task

COUNT_SECONDS = 10
EVENT_EVERY_SECONDS = 2.0
# A stream keeps a thread of gunicorn's for its whole life; the others must stay free for pages.
STREAMS_PER_PROCESS = 1
stream_seats = threading.BoundedSemaphore(STREAMS_PER_PROCESS)


def member(request: HttpRequest) -> User:
    if request.user.organisation is None:
        raise PermissionDenied("Your account belongs to no organisation.")
    return request.user


@require_GET
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    user = request.user
    User.objects.filter(pk=user.pk).update(last_seen_at=timezone.now())
    key = f"record-count:{user.organisation_id}"
    count = cache.get(key)
    from_cache = count is not None
    if not from_cache:
        count = Record.objects.visible_to(user).count()
        cache.set(key, count, COUNT_SECONDS)
    context = {
        "record_count": count,
        "from_cache": from_cache,
        "records": Record.objects.visible_to(user)[:10],
        "tasks": TaskRun.objects.visible_to(user)[:5],
        "host": socket.gethostname(),
    }
    return render(request, "dashboard.html", context)


@require_POST
@login_required
def add_record(request: HttpRequest) -> HttpResponse:
    user = member(request)
    title = request.POST.get("title", "").strip()[:200]
    if not title:
        messages.error(request, "A record needs a title.")
    else:
        Record.objects.create(
            organisation=user.organisation,
            created_by=user,
            title=title,
            body=request.POST.get("body", ""),
        )
        cache.delete(f"record-count:{user.organisation_id}")
    return redirect("dashboard")


@require_http_methods(["GET", "POST"])
@login_required
def upload(request: HttpRequest) -> HttpResponse:
    user = member(request)
    if request.method == "POST":
        given = request.FILES.get("file")
        problem = None
        if given is None:
            problem = "Choose a file first."
        elif given.size > settings.UPLOAD_MAX_BYTES:
            problem = f"The file has {given.size} bytes; {settings.UPLOAD_MAX_BYTES} are allowed."
        if problem:
            return answer(request, {"error": problem}, 400)
        kept = keep(user, given)
        return answer(request, {"id": str(kept.pk), "size": kept.size, "sha256": kept.sha256}, 201)
    return render(request, "upload.html", {"uploads": Upload.objects.visible_to(user)[:20]})


def keep(user: User, given: Any) -> Upload:
    digest = hashlib.sha256()
    for chunk in given.chunks():
        digest.update(chunk)
    given.seek(0)
    kept = Upload(
        organisation=user.organisation,
        created_by=user,
        name=given.name[:255],
        size=given.size,
        sha256=digest.hexdigest(),
    )
    # The client's name never becomes a path.
    kept.file.save(f"{user.organisation.code}/{kept.pk}", given, save=True)
    return kept


def answer(request: HttpRequest, result: dict[str, Any], status: int) -> HttpResponse:
    """JSON for programs; a message and the page again for people."""
    if "application/json" in request.headers.get("Accept", ""):
        return JsonResponse(result, status=status)
    if "error" in result:
        messages.error(request, str(result["error"]))
    else:
        messages.success(request, "The file is kept.")
    return redirect("upload")


@require_GET
@login_required
def download(request: HttpRequest, pk: UUID) -> HttpResponse:
    kept = get_object_or_404(Upload.objects.visible_to(member(request)), pk=pk)
    path = Path(kept.file.path)
    if not path.exists():
        raise Http404(f"{kept.name} is not on {socket.gethostname()}")
    return FileResponse(path.open("rb"), as_attachment=True, filename=kept.name)


@require_http_methods(["GET", "POST"])
@login_required
def tasks(request: HttpRequest) -> HttpResponse:
    user = member(request)
    if request.method == "POST":
        try:
            seconds = float(request.POST.get("seconds") or 0)
        except ValueError:
            seconds = -1.0
        if 0 <= seconds <= MAX_TASK_SECONDS:
            queue_task(user, seconds)
        else:
            messages.error(request, f"A task takes 0 to {MAX_TASK_SECONDS} seconds.")
        return redirect("tasks")
    return render(
        request,
        "tasks.html",
        {"tasks": TaskRun.objects.visible_to(user)[:20], "limit": MAX_TASK_SECONDS},
    )


@require_GET
@login_required
def replica(request: HttpRequest) -> HttpResponse:
    """A read through the replica route: which server answered, and what it has of our records."""
    visible = Record.objects.using(settings.REPLICA_ALIAS).visible_to(request.user)
    return JsonResponse({**replica_identity(), "record_count": visible.count()})


@require_GET
@login_required
def events_page(request: HttpRequest) -> HttpResponse:
    return render(request, "events.html")


@require_GET
def event_stream(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.path)
    response = StreamingHttpResponse(events(request.user), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # nginx would otherwise collect events until its buffer is full.
    response["X-Accel-Buffering"] = "no"
    return response


def events(user: User) -> Iterator[str]:
    """State every two seconds for a while; the browser then asks again by itself.

    With all seats taken the answer is one event: the same page, by polling.
    """
    seated = stream_seats.acquire(blocking=False)
    try:
        yield f"retry: {1000 if seated else 5000}\n\n"
        until = time.monotonic() + settings.EVENT_STREAM_SECONDS
        while True:
            yield f"event: state\ndata: {json.dumps(state_of(user))}\n\n"
            if not seated or time.monotonic() + EVENT_EVERY_SECONDS > until:
                break
            time.sleep(EVENT_EVERY_SECONDS)
        yield "event: end\ndata: {}\n\n"
    finally:
        if seated:
            stream_seats.release()
        connections.close_all()


def state_of(user: User) -> dict[str, Any]:
    latest = TaskRun.objects.visible_to(user).first()
    return {
        "time": timezone.now().isoformat(),
        "host": socket.gethostname(),
        "version": settings.APP_VERSION,
        "records": Record.objects.visible_to(user).count(),
        "latest_task": latest.as_dict() if latest else None,
    }
