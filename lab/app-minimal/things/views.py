from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from .models import Tenant, Thing
from .tasks import make_thing


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("A minimal application.\n", content_type="text/plain")


def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "healthy", "service": "minimal", "version": "0.1.0"})


def ready(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    cache.set("ready", 1, 60)
    return JsonResponse({"status": "ready", "checks": {"database": True, "cache": True}})


def metrics(request: HttpRequest) -> HttpResponse:
    lines = f"minimal_things {Thing.objects.count()}\nminimal_tenants {Tenant.objects.count()}\n"
    return HttpResponse(lines, content_type="text/plain; version=0.0.4")


def count(request: HttpRequest) -> HttpResponse:
    """GET counts the things; POST asks a worker for one more."""
    if request.method == "POST":
        make_thing.delay()
    return JsonResponse({"things": Thing.objects.count()})
