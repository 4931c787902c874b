"""Every alert has a case in which it fires, one in which it does not, and a page for the person who is woken by it.

The cases themselves (*.yml beside this file) are run by promtool in `molecule test -s prometheus`, against the rules as they are on the host.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "roles").glob("*/templates/rules/*.yml.j2"))
CASES = sorted(Path(__file__).parent.glob("*.yml"))
PAGES = ROOT / "docs" / "runbooks"
THRESHOLDS = yaml.safe_load((ROOT / "roles/prometheus/vars/main.yml").read_text())["__prometheus_default_thresholds"]


def rendered(path: Path) -> str:
    header, body = path.read_text().split("\n", 1)
    assert header.startswith("#jinja2: variable_start_string:'[[', variable_end_string:']]'"), path
    environment = jinja2.Environment(
        variable_start_string="[[", variable_end_string="]]", trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(body).render(ansible_managed="by a test", __prometheus_thresholds=THRESHOLDS, prometheus_watch_clock_source=True)


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(rendered(path))["groups"] for rule in group["rules"]]


def checks(alert: str) -> list[dict[str, Any]]:
    found = [check for path in CASES for case in yaml.safe_load(path.read_text())["tests"] for check in case["promql_expr_test"]]
    return [check for check in found if f'alertname="{alert}"' in check["expr"]]


ALERTS = [rule["alert"] for rule in rules()]


def test_there_are_rules() -> None:
    assert len(ALERTS) > 30
    assert len(ALERTS) == len(set(ALERTS))


@pytest.mark.parametrize("rule", rules(), ids=ALERTS)
def test_severity_and_summary(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "none")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_case_in_which_it_fires(alert: str) -> None:
    assert any(check["exp_samples"] for check in checks(alert))


@pytest.mark.parametrize("alert", [name for name in ALERTS if name != "Watchdog"])
def test_a_case_in_which_it_does_not(alert: str) -> None:
    """Either nothing is expected at some time, or only some of the series are."""
    series = {
        entry["series"]
        for path in CASES
        for case in yaml.safe_load(path.read_text())["tests"]
        if any(f'alertname="{alert}"' in check["expr"] for check in case["promql_expr_test"])
        for entry in case["input_series"]
    }
    assert any(not check["exp_samples"] for check in checks(alert)) or any('"good"' in entry for entry in series)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_for_the_night(alert: str) -> None:
    page = (PAGES / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    commands = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert commands, "no commands to run"
    assert 1 <= len(commands[0].strip().splitlines()) <= 4
    assert len(page.splitlines()) <= 40


def test_every_threshold_of_the_facts_is_used() -> None:
    text = "".join(path.read_text() for path in RULES)
    unused = [name for name in THRESHOLDS if f"__prometheus_thresholds.{name}" not in text]
    assert unused == []
