"""Reading the beat's traces."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone

from .models import HeartBeat

BEAT_WINDOW_SECONDS = 120
PERIOD_SECONDS = 15.0
# Three periods: one may be late, one may fall into the beat's move to another host.
SILENT_SECONDS = 3 * PERIOD_SECONDS
# The beat of the next host may tick right after the last tick of the one before; two beats that run
# side by side make such a pair every quarter minute.
PAIRS_OF_A_MOVE = 1


def beat_state(seconds: float = BEAT_WINDOW_SECONDS) -> dict[str, Any]:
    """Ticks by the time the beat sent them: a busy queue delays their arrival, not their rhythm."""
    now = timezone.now()
    ticks = list(HeartBeat.objects.filter(sent_at__gte=now - timedelta(seconds=seconds)).order_by("sent_at").values_list("sent_at", "beat_host"))
    close = sum(1 for (earlier, _), (later, _) in pairwise(ticks) if (later - earlier).total_seconds() < PERIOD_SECONDS / 2)
    age = (now - ticks[-1][0]).total_seconds() if ticks else None
    return {
        "ticks": len(ticks),
        "too_close": close,
        "hosts": sorted({host for _, host in ticks}),
        "age_seconds": None if age is None else round(age, 1),
        "ok": age is not None and age < SILENT_SECONDS and close <= PAIRS_OF_A_MOVE,
    }
