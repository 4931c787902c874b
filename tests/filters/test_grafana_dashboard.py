"""Dashboards: panels do not overlap, colours follow targets and alerts, mistakes are named."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana_dashboard import grafana_dashboard

DASHBOARDS = yaml.safe_load((Path(__file__).parents[2] / "roles/grafana/vars/main.yml").read_text())["__grafana_dashboards"]


def one(**panel: Any) -> dict[str, Any]:
    made = grafana_dashboard({"uid": "u", "title": "T", "panels": [{"title": "P", "queries": {"up": "up"}, **panel}]})["panels"][0]
    assert isinstance(made, dict)
    return made


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: str(d["title"]))
def test_panels_of_our_dashboards_have_places_of_their_own(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in grafana_dashboard(dashboard)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not any(overlap(a, b) for a, b in combinations(places, 2))


def test_the_dashboards_of_the_facts_are_there() -> None:
    wanted = {"Overview", "Application Performance", "Database Performance", "Cache Performance", "Infrastructure"}
    assert wanted <= {dashboard["title"] for dashboard in DASHBOARDS}
    assert len({dashboard["uid"] for dashboard in DASHBOARDS}) == len(DASHBOARDS)


def colours(panel: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]


def test_more_is_worse() -> None:
    assert colours(one(warn=70, alert=85)) == [("green", None), ("orange", 70), ("red", 85)]


def test_less_is_worse() -> None:
    assert colours(one(warn=80, alert=50)) == [("red", None), ("orange", 50), ("green", 80)]


def test_each_query_has_a_letter_and_a_legend() -> None:
    targets = one(queries={"read": "a", "write": "b"})["targets"]
    assert [(t["refId"], t["legendFormat"], t["expr"]) for t in targets] == [("A", "read", "a"), ("B", "write", "b")]


@pytest.mark.parametrize(("panel", "words"), [({"colour": "red"}, "unknown keys colour"), ({"queries": {}}, "no queries")])
def test_a_mistake_is_named(panel: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"panel 'P' of T has {words}"):
        one(**panel)
