"""Settings, all of them from the environment (docs/app-contract.md lists the variables)."""

import os
from pathlib import Path

import redis
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from .environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.secret_key(DEBUG)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", required=not DEBUG)
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
BASE_URL = env.text("BASE_URL", "http://localhost:8000").rstrip("/")
METRICS_TOKEN = env.text("METRICS_TOKEN", required=not DEBUG)
ADMIN_IP_WHITELIST = env.networks("ADMIN_IP_WHITELIST")
VERSION_FILE = BASE_DIR / "VERSION"
APP_VERSION = env.text("APP_VERSION", VERSION_FILE.read_text().strip() if VERSION_FILE.exists() else "unknown")

# A connection kept for a minute saves a password exchange per request; the pooler multiplexes it.
DATABASE_MAX_AGE = env.number("DATABASE_CONN_MAX_AGE", 60)
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}" if DEBUG else "", required=not DEBUG)
DATABASE_REPLICA_URL = env.text("DATABASE_REPLICA_URL")
DATABASES = {"default": env.database("DATABASE_URL", DATABASE_URL, DATABASE_MAX_AGE)}
if DATABASE_REPLICA_URL:
    DATABASES["replica"] = {
        **env.database("DATABASE_REPLICA_URL", DATABASE_REPLICA_URL, DATABASE_MAX_AGE),
        "TEST": {"MIRROR": "default"},
    }
REPLICA_ALIAS = "replica" if DATABASE_REPLICA_URL else "default"
DATABASE_ROUTERS = ["obcms.databases.PrimaryOnlyMigrations"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL", required=not DEBUG)
# A master that has gone away without a word is noticed after these seconds, not after minutes.
REDIS_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 15,
    # Once more on a connection that a failover has closed; never again on one that hangs.
    "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
}
BROKER_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
}
LOCAL_CACHE = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
CACHES = {
    "default": (
        {
            "BACKEND": "obcms.cache.ForgivingRedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "obcms",
            "OPTIONS": REDIS_OPTIONS,
        }
        if REDIS_URL
        else LOCAL_CACHE
    ),
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "accounts",
    "work",
    "onboarding",
]
MIDDLEWARE = [
    "obcms.probes.ProbeMiddleware",
    "obcms.middleware.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "obcms.middleware.AdminAddressMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.OwnPasswordMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "obcms.urls"
WSGI_APPLICATION = "obcms.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "obcms.context.platform",
            ]
        },
    }
]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.OrganisationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = ["accounts.hashers.Argon2Hasher"]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

# TLS ends at the balancer, which sets the header; a direct TLS connection counts as secure too.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31536000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(BASE_DIR / "media")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    },
}
# Straight to a file beside its destination: /tmp is memory on Debian 13, and a move then costs nothing.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = env.text("UPLOAD_TEMP_DIR") or None
FILE_UPLOAD_PERMISSIONS = 0o640
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o750
UPLOAD_MAX_BYTES = env.number("UPLOAD_MAX_MB", 100) * 1024 * 1024

EMAIL_BACKEND = env.email_backend(DEBUG)
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 25)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS")
EMAIL_USE_SSL = env.flag("EMAIL_USE_SSL")
EMAIL_TIMEOUT = env.number("EMAIL_TIMEOUT", 15)
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "obcms@localhost", required=not DEBUG)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# A stream ends before gunicorn's graceful time does, so that a release never has to cut one.
EVENT_STREAM_SECONDS = env.number("EVENT_STREAM_SECONDS", 20)

LANGUAGE_CODE = "en"
TIME_ZONE = "Asia/Manila"
USE_TZ = True
SILENCED_SYSTEM_CHECKS: list[str] = []

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "memory://" if DEBUG else "", required=not DEBUG)
CELERY_RESULT_BACKEND = env.text("CELERY_RESULT_BACKEND", "cache+memory://" if DEBUG else "", required=not DEBUG)
CELERY_TASK_TIME_LIMIT = env.number("CELERY_TASK_TIME_LIMIT", 300)
CELERY_TASK_SOFT_TIME_LIMIT = env.number("CELERY_TASK_SOFT_TIME_LIMIT", 240)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 20,
    "interval_start": 0.2,
    "interval_step": 0.3,
    "interval_max": 2.0,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than the longest task: a shorter one hands a running task to a second worker.
    "visibility_timeout": max(3600, 4 * CELERY_TASK_TIME_LIMIT),
    **BROKER_OPTIONS,
}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"],
    "retry_policy": {"timeout": 15.0},
}
CELERY_REDIS_SOCKET_TIMEOUT = BROKER_OPTIONS["socket_timeout"]
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = BROKER_OPTIONS["socket_connect_timeout"]
CELERY_REDIS_SOCKET_KEEPALIVE = True
CELERY_REDIS_RETRY_ON_TIMEOUT = True
CELERY_RESULT_EXPIRES = 3600
# Prefetch and shutdown are the platform's to choose, on the worker's command line: what is set here
# under Celery's namespace would outrank it.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {
        "task": "work.tasks.heartbeat",
        "schedule": 15.0,
        "args": (os.uname().nodename,),
        # A worker that comes back late must not run a backlog of heart beats.
        "options": {"expires": 60},
    },
    "clear-sessions": {"task": "work.tasks.clear_sessions", "schedule": crontab(hour=3, minute=17)},
}

LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    env.problems.append(f"LOG_LEVEL is {LOG_LEVEL!r}; use DEBUG, INFO, WARNING, ERROR or CRITICAL")
    LOG_LEVEL = "INFO"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "obcms.logs.JsonFormatter"}},
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
        },
        # Management commands answer on stdout; what they log must not mix with the answer.
        "stderr": {"class": "logging.StreamHandler", "formatter": "json"},
    },
    "root": {
        "handlers": ["stderr" if os.environ.get("OBCMS_LOG_STDERR") else "stdout"],
        "level": LOG_LEVEL,
    },
    "loggers": {
        "django": {"level": LOG_LEVEL, "handlers": [], "propagate": True},
        "django.server": {"level": LOG_LEVEL, "handlers": [], "propagate": True},
    },
}

if env.problems:
    raise ImproperlyConfigured("environment: " + "; ".join(env.problems))
