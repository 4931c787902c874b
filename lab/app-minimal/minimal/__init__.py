"""A Django project that knows nothing of the platform: it reads DATABASE_URL and REDIS_URL."""

from .worker import app

__all__ = ["app"]
