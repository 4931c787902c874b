"""Hosts and fleets that the filter tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# Quick for every run, thorough for a proof; mutation looks for one failure only, the same at every run, and nobody reads its smallest example.
settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "mutation",
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
