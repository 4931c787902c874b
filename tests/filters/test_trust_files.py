"""Which authorities each file of trust holds."""

from __future__ import annotations

from trust_files import trust_files


def test_each_authority_has_a_file_of_its_own() -> None:
    found = trust_files({"redis": {"certificate": "R\n", "private_key": "secret"}, "patroni": {"certificate": "P"}}, "M\n")
    assert found == {"ca.crt": "M\n", "authorities/patroni.crt": "P\n", "authorities/redis.crt": "R\n"}


def test_former_ones_come_after_the_present_one_and_each_once() -> None:
    found = trust_files({"redis": {"certificate": "R", "former": ["M\n", "R"]}}, "M", ["old", "M"])
    assert found == {"ca.crt": "M\nold\n", "authorities/redis.crt": "R\nM\n"}
