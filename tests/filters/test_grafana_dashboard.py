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


def test_a_whole_dashboard() -> None:
    source = {"type": "prometheus", "uid": "prometheus"}
    panels = [
        {"title": "Up", "queries": {"up": "sum(up)"}, "unit": "percent", "stat": True, "alert": 5},
        {"title": "Plain", "queries": {"n": "n"}, "stat": True},
        {"title": "Load", "queries": {"one": "node_load1", "five": "node_load5"}, "warn": 4},
        {"title": "Rest", "queries": {"x": "x"}},
    ]
    made = grafana_dashboard({"uid": "host", "title": "Hosts", "panels": panels})
    assert {name: value for name, value in made.items() if name != "panels"} == {
        "uid": "host",
        "title": "Hosts",
        "tags": ["obcms"],
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "editable": False,
        "schemaVersion": 39,
    }

    def defaults(unit: str, *steps: tuple[str, Any]) -> dict[str, Any]:
        return {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in steps]}}

    def target(letter: str, legend: str, expression: str) -> dict[str, Any]:
        return {"refId": letter, "datasource": source, "expr": expression, "legendFormat": legend}

    graph = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    assert made["panels"] == [
        {
            "id": 1,
            "type": "stat",
            "title": "Up",
            "datasource": source,
            "gridPos": {"x": 0, "y": 0, "w": 6, "h": 4},
            "fieldConfig": {"defaults": defaults("percent", ("green", None), ("red", 5)), "overrides": []},
            "options": {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}},
            "targets": [target("A", "up", "sum(up)")],
        },
        {
            "id": 2,
            "type": "stat",
            "title": "Plain",
            "datasource": source,
            "gridPos": {"x": 6, "y": 0, "w": 6, "h": 4},
            "fieldConfig": {"defaults": defaults("short", ("green", None)), "overrides": []},
            "options": {"colorMode": "value", "reduceOptions": {"calcs": ["lastNotNull"]}},
            "targets": [target("A", "n", "n")],
        },
        {
            "id": 3,
            "type": "timeseries",
            "title": "Load",
            "datasource": source,
            "gridPos": {"x": 12, "y": 0, "w": 12, "h": 8},
            "fieldConfig": {
                "defaults": {
                    **defaults("short", ("green", None), ("orange", 4)),
                    "custom": {"fillOpacity": 10, "thresholdsStyle": {"mode": "line"}},
                },
                "overrides": [],
            },
            "options": graph,
            "targets": [target("A", "one", "node_load1"), target("B", "five", "node_load5")],
        },
        {
            "id": 4,
            "type": "timeseries",
            "title": "Rest",
            "datasource": source,
            "gridPos": {"x": 0, "y": 8, "w": 12, "h": 8},
            "fieldConfig": {
                "defaults": {**defaults("short", ("green", None)), "custom": {"fillOpacity": 10, "thresholdsStyle": {"mode": "off"}}},
                "overrides": [],
            },
            "options": graph,
            "targets": [target("A", "x", "x")],
        },
    ]


def test_equal_targets_mean_that_more_is_worse() -> None:
    assert colours(one(warn=5, alert=5)) == [("green", None), ("orange", 5), ("red", 5)]


def test_all_unknown_keys_are_named_and_what_is_allowed() -> None:
    allowed = "allowed are alert, queries, stat, title, unit, warn"
    with pytest.raises(ValueError, match=f"^grafana_dashboard: panel 'P' of T has unknown keys colour, size; {allowed}$"):
        one(size=3, colour="red")
    with pytest.raises(ValueError, match=f"^grafana_dashboard: panel None of T has no queries; {allowed}$"):
        grafana_dashboard({"uid": "u", "title": "T", "panels": [{}]})
