"""Answers of Prometheus: one number, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from prometheus_values import NoValue, answers, value_of


def vector(*values: str) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": [{"value": [0, value]} for value in values]}}


def test_one_value() -> None:
    assert value_of(vector("1.5")) == 1.5
    assert value_of({"status": "success", "data": {"resultType": "scalar", "result": [0, "3"]}}) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (vector(), "no data"),
        (vector("1", "2"), "2 values instead of one"),
        (vector("NaN"), "not a number"),
        ({"status": "error", "error": "parse error"}, "parse error"),
        ([], "no answer that can be read"),
    ],
)
def test_no_value(answer: Any, reason: str) -> None:
    with pytest.raises(NoValue, match=reason):
        value_of(answer)


def test_nobody_answers() -> None:
    result = answers({"url": "https://127.0.0.1:1", "queries": {"up": "up"}, "ca": None, "certificate": None, "key": None, "timeout": 1})
    assert result["values"] == {"up": None}
    assert "no answer from Prometheus" in result["errors"]["up"]


def test_missing_certificates_are_named() -> None:
    result = answers({"url": "https://127.0.0.1:1", "queries": {"up": "up"}, "ca": "/nowhere/ca.crt", "certificate": None, "key": None, "timeout": 1})
    assert "no certificates" in result["errors"]["up"]
