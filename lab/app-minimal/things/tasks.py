from celery import shared_task

from .models import Thing


@shared_task
def make_thing() -> int:
    return Thing.objects.create().pk
