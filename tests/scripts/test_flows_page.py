from __future__ import annotations

import flows_page


def test_the_page_is_up_to_date() -> None:
    assert flows_page.main(["--check"]) == 0, "docs/flows.md is old: run scripts/flows_page.py"


def test_an_old_page_is_noticed(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(flows_page, "PAGE", tmp_path / "flows.md")
    assert flows_page.main(["--check"]) == 1
    assert flows_page.main([]) == 0
    assert flows_page.main(["--check"]) == 0


def test_a_row() -> None:
    flow = {"from": ["app", "celery"], "to": "world", "port": "dns", "protocol": "udp", "why": "names"}
    assert flows_page.page([flow], {"dns": 53}).endswith("|---|---|---|---|\n| app, celery | world | 53/udp (dns) | names |\n")
    assert flows_page.page([{"from": "lb", "to": "lb", "protocol": "vrrp", "why": "x"}], {}).endswith("| lb | lb | vrrp | x |\n")
