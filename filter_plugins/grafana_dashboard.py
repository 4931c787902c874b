"""Filter grafana_dashboard: a short description of panels into the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: grafana_dashboard
short_description: A dashboard for Grafana from a list of panels
description:
  - A panel is C({title, queries, unit, warn, alert, stat}). C(queries) maps a legend to an expression. C(warn) and C(alert) draw the
    target and the threshold. Panels flow from left to right; one with C(stat) shows a single number and takes a quarter of the width,
    others half of it.
positional: _input
options:
  _input:
    description: C({uid, title, panels}).
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    overview: {uid: obcms-overview, title: Overview, panels: [{title: Hosts up, stat: true, queries: {up: 'sum(up{job="node"})'}}]}
  ansible.builtin.copy:
    content: "{{ overview | grafana_dashboard | to_nice_json }}"
    dest: /etc/grafana/dashboards/overview.json
"""

RETURN = r"""
_value:
  description: The dashboard.
  type: dict
"""

COLUMNS = 24
STAT = (6, 4)
GRAPH = (12, 8)
PANEL_KEYS = {"title", "queries", "unit", "warn", "alert", "stat"}
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}


def _steps(panel: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Colours; where the alert is below the target (a hit rate), less is worse."""
    warn, alert = panel.get("warn"), panel.get("alert")
    if warn is not None and alert is not None and alert < warn:
        return [{"color": "red", "value": None}, {"color": "orange", "value": alert}, {"color": "green", "value": warn}]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": "orange", "value": warn}] if warn is not None else []
    return steps + ([{"color": "red", "value": alert}] if alert is not None else [])


def _panel(number: int, panel: Mapping[str, Any], place: dict[str, int]) -> dict[str, Any]:
    stat = bool(panel.get("stat"))
    steps = _steps(panel)
    defaults: dict[str, Any] = {"unit": panel.get("unit", "short"), "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if stat:
        options: dict[str, Any] = {"colorMode": "background" if len(steps) > 1 else "value", "reduceOptions": {"calcs": ["lastNotNull"]}}
    else:
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
        defaults["custom"] = {"fillOpacity": 10, "thresholdsStyle": {"mode": "line" if len(steps) > 1 else "off"}}
    return {
        "id": number,
        "type": "stat" if stat else "timeseries",
        "title": panel["title"],
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
            for index, (legend, expression) in enumerate(panel["queries"].items())
        ],
    }


def grafana_dashboard(dashboard: Any) -> dict[str, Any]:
    """The dashboard; ValueError names a panel that is not understood."""
    panels = []
    x = y = row_height = 0
    for number, panel in enumerate(dashboard["panels"], start=1):
        unknown = set(panel) - PANEL_KEYS
        if unknown or not panel.get("queries"):
            raise ValueError(
                f"grafana_dashboard: panel {panel.get('title')!r} of {dashboard['title']} has "
                f"{'unknown keys ' + ', '.join(sorted(unknown)) if unknown else 'no queries'}; allowed are {', '.join(sorted(PANEL_KEYS))}"
            )
        width, height = STAT if panel.get("stat") else GRAPH
        if x + width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": width, "h": height}))
        x, row_height = x + width, max(row_height, height)
    return {
        "uid": dashboard["uid"],
        "title": dashboard["title"],
        "tags": ["obcms"],
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "editable": False,
        "schemaVersion": 39,
        "panels": panels,
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"grafana_dashboard": grafana_dashboard}
