"""Memory arithmetic that gunicorn and Celery share: both run copies of the same Django application."""

from __future__ import annotations

# Facts, capacity planner: 250 MB per process, and 500 MB (application) + 1024 MB (system) beside them.
PROCESS_MB = 250
BESIDE_MB = 500 + 1024
# On a small host those 1.5 GB would leave nothing; there the system and the poolers get by with 30 %.
BESIDE_PERCENT = 30


def processes_by_memory(share_mb: int) -> int:
    """Processes that fit, one at least: parse_host and the services' minima have ruled out hosts too small for it."""
    beside = min(BESIDE_MB, share_mb * BESIDE_PERCENT // 100)
    return max(1, (share_mb - beside) // PROCESS_MB)
