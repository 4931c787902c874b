"""Whatever a sizing filter does not know is named, all of it."""

from __future__ import annotations

import importlib

import pytest

from fleets import host
from host_share import SizingError


@pytest.mark.parametrize("service", ["celery", "gunicorn", "kernel", "nginx", "pgbouncer", "postgres", "redis"])
def test_all_unknown_arguments_are_named(service: str) -> None:
    sizing = getattr(importlib.import_module(f"{service}_sizing"), f"{service}_sizing")
    with pytest.raises(SizingError, match=f"^{service}_sizing: unknown argument memory, wokers; "):
        sizing(host(8, 16384), ["app"], wokers=3, memory=4)


def test_a_host_outside_the_group_still_gets_the_service() -> None:
    gunicorn = importlib.import_module("gunicorn_sizing").gunicorn_sizing
    assert gunicorn(host(8, 8192), ["postgres"]) == gunicorn(host(8, 8192), ["app", "postgres"])
