import os
from hashlib import sha256
from pathlib import Path

import dj_database_url

BASE_DIR = Path(__file__).resolve().parent.parent

# No SECRET_KEY variable is read here on purpose; the key only has to be the same on every host.
SECRET_KEY = sha256(os.environ["DATABASE_URL"].encode()).hexdigest()
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
    }
}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "things",
]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "minimal.urls"
WSGI_APPLICATION = "minimal.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
USE_TZ = True
