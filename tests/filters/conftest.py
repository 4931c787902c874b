"""Hosts and fleets that the filter tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Two settings: quick for every run, thorough for a proof.
settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
