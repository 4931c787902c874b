"""Every host is scraped once, whatever groups it is in."""

from __future__ import annotations

import pytest

from scrape_targets import scrape_targets

DB = {"name": "db1", "address": "192.0.2.41"}
CACHE = {"name": "cache1", "address": "192.0.2.51"}


def test_each_host_once_under_its_first_tier_sorted_by_name() -> None:
    assert scrape_targets({"database": [DB], "cache": [CACHE], "etcd": [CACHE]}) == [{**CACHE, "tier": "cache"}, {**DB, "tier": "database"}]


def test_one_host_with_everything() -> None:
    assert scrape_targets({"lb": [DB], "app": [DB], "database": [DB]}) == [{**DB, "tier": "lb"}]


def test_empty_tiers() -> None:
    assert scrape_targets({"lb": [], "app": []}) == []


def test_two_addresses_are_refused_with_the_culprit() -> None:
    with pytest.raises(ValueError, match="^scrape_targets: ") as refused:
        scrape_targets({"database": [DB], "cache": [{"name": "db1", "address": "192.0.2.99"}]})
    assert str(refused.value).removeprefix("scrape_targets: ") == (
        "db1 has the address 192.0.2.41 in tier database and 192.0.2.99 in tier cache; a host has one ansible_host"
    )


def test_no_dict_is_refused() -> None:
    with pytest.raises(ValueError, match="is no dict"):
        scrape_targets([DB])
