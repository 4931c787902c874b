"""Every metric the application counts itself, right across several gunicorn workers.

prometheus_client keeps one set of files per process id. Workers are replaced every thousand
requests, so the files would pile up and each scrape grow slower; here a process takes the lowest
free slot instead, goes on counting in its files, and the directory stays as small as the number
of processes that run at one time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MAX_SLOTS = 1024

_held: dict[int, tuple[int, IO[str]]] = {}


def _directory() -> Path | None:
    """The directory shared by the processes; without a writable one each counts for itself."""
    name = os.environ.get(MULTIPROCESS_VARIABLE)
    if not name:
        return None
    with contextlib.suppress(OSError):
        Path(name).mkdir(parents=True, exist_ok=True)
    if os.access(name, os.W_OK):
        return Path(name)
    # prometheus_client looks at the variable as well, and would fail at import.
    del os.environ[MULTIPROCESS_VARIABLE]
    return None


def process_slot() -> int:
    """The slot of this process, taken at first use and again after a fork."""
    assert DIRECTORY is not None
    pid = os.getpid()
    if pid not in _held:
        # POSIX locks are not inherited: a forked worker never shares its parent's slot.
        _held.clear()
        for slot in range(MAX_SLOTS):
            handle = (DIRECTORY / f"slot-{slot}.lock").open("w")
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.close()
                continue
            _held[pid] = (slot, handle)
            break
        else:
            raise RuntimeError(f"{DIRECTORY}: all {MAX_SLOTS} slots are taken")
    return _held[pid][0]


DIRECTORY = _directory()

from prometheus_client import Counter, Histogram, values  # noqa: E402

if DIRECTORY:
    values.ValueClass = values.MultiProcessValue(process_slot)

# The facts' targets are 3 s and 5 s, so both are bucket bounds.
SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)
SECONDS_PER_ORGANISATION = (0.1, 0.5, 1.0, 3.0, 5.0)

REQUESTS = Counter("obcms_http_requests_total", "Requests answered.", ["endpoint", "method", "status"])
DURATION = Histogram("obcms_http_request_duration_seconds", "Time to answer.", ["endpoint"], buckets=SECONDS)
EXCEPTIONS = Counter("obcms_http_exceptions_total", "Requests that raised an exception.", ["endpoint", "type"])
LOGINS = Counter("obcms_logins_total", "Attempts to log in.", ["organisation", "result"])
ORGANISATION_REQUESTS = Counter(
    "obcms_organisation_requests_total",
    "Requests of an organisation's users.",
    ["organisation", "status_class"],
)
ORGANISATION_DURATION = Histogram(
    "obcms_organisation_request_duration_seconds",
    "Time to answer an organisation's users.",
    ["organisation"],
    buckets=SECONDS_PER_ORGANISATION,
)
TASKS_QUEUED = Counter("obcms_tasks_queued_total", "Tasks handed to the broker.", ["organisation"])
CACHE_OPERATIONS = Counter("obcms_cache_operations_total", "Cache look-ups.", ["result"])
