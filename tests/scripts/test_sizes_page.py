from __future__ import annotations

from pathlib import Path

import pytest

import sizes_page


def test_the_page_is_up_to_date() -> None:
    assert sizes_page.main(["--check"]) == 0, "docs/sizes.md is old: run scripts/sizes_page.py"


def test_an_old_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes_page, "PAGE", tmp_path / "sizes.md")
    assert sizes_page.main(["--check"]) == 1
    assert sizes_page.main([]) == 0
    assert sizes_page.main(["--check"]) == 0
    assert sizes_page.main(["--what"]) == 2


def test_the_reference_hosts() -> None:
    text = sizes_page.page()
    assert "| gunicorn `workers` | 2 | 5 | 9 | 17 |" in text.partition("## A host")[0]
