"""Reference application of the platform: tenants, users, records, tasks."""

from .celery import app as celery_app

__all__ = ["celery_app"]
