"""Batches and turns of a release: every host once, enough of them serving, and no waiting that nobody needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from release_batches import BatchError, release_batches, release_turns, release_wait

FOUR = ["web1", "web2", "web3", "web4"]


def test_a_canary_a_quarter_and_the_rest_of_which_half_goes_at_once() -> None:
    assert release_batches(FOUR) == [
        {"name": "canary", "hosts": ["web1"], "turns": [["web1"]]},
        {"name": "batch 2", "hosts": ["web2"], "turns": [["web2"]]},
        {"name": "batch 3", "hosts": ["web3", "web4"], "turns": [["web3", "web4"]]},
    ]


def test_what_runs_the_release_already_stays_out() -> None:
    assert [batch["hosts"] for batch in release_batches(FOUR, done=["web1", "web3"])] == [["web2"], ["web4"]]
    assert release_batches(FOUR, done=FOUR) == []
    assert release_batches([]) == []


def test_all_at_once_and_one_by_one() -> None:
    assert release_batches(FOUR, ["100%"], serving_percent=0)[0]["turns"] == [FOUR]
    assert [batch["turns"] for batch in release_batches(FOUR, [1])] == [[[host]] for host in FOUR]
    assert release_batches(["web1"], serving_percent=100)[0] == {"name": "batch 1", "hosts": ["web1"], "turns": [["web1"]]}
    assert release_turns(["web2", "web3", "web4"], FOUR) == [["web2", "web3"], ["web4"]]
    # Of two hosts the first is the canary.
    assert [batch["name"] for batch in release_batches(FOUR[:2])] == ["canary", "batch 2"]


def test_sizes_are_numbers_of_hosts_or_shares_of_them() -> None:
    assert [batch["hosts"] for batch in release_batches(FOUR, [3])] == [FOUR[:3], FOUR[3:]]
    assert [batch["hosts"] for batch in release_batches(FOUR, ["75%"])] == [FOUR[:3], FOUR[3:]]


def test_a_share_that_goes_on_serving_is_rounded_up() -> None:
    six = [f"web{number}" for number in range(6)]
    # 67 % of six hosts are 4.02.
    assert release_turns(six[:2], six, 66) == [six[:2]]
    assert release_turns(six[:2], six, 67) == [six[:1], six[1:2]]


@given(count=st.integers(1, 40), sizes=st.lists(st.sampled_from([1, 2, 5, "10%", "25%", "50%", "100%"]), min_size=1), percent=st.integers(0, 100))
def test_every_host_goes_once_and_enough_go_on_serving(count: int, sizes: list[object], percent: int) -> None:
    hosts = [f"web{number}" for number in range(count)]
    turns = [turn for batch in release_batches(hosts, sizes, serving_percent=percent) for turn in batch["turns"]]
    assert [host for turn in turns for host in turn] == hosts
    assert all(len(turn) == 1 or (count - len(turn)) * 100 >= count * percent for turn in turns)


@pytest.mark.parametrize("sizes", [[], [0], ["0%"], ["101%"], ["many"], [-1]])
def test_nonsense_is_named(sizes: list[object]) -> None:
    with pytest.raises(BatchError, match="release_batches"):
        release_batches(FOUR, sizes)


@pytest.mark.parametrize("percent", [-1, 101])
def test_nonsense_of_the_share_is_named(percent: int) -> None:
    with pytest.raises(BatchError, match=f"release_serving_percent is {percent}; it is a share from 0 to 100"):
        release_batches(FOUR, serving_percent=percent)


def test_a_turn_waits_only_when_too_few_others_are_in_use() -> None:
    # web1 came back at 100: the others carry its share, nobody waits.
    assert release_wait(["web2"], FOUR, {"web1": 100}, 101, 31) == 0
    # web3 and web4 go together: web1 and web2 must both be in use, and web2 is at 131.
    assert release_wait(["web3", "web4"], FOUR, {"web1": 60, "web2": 100}, 110, 31) == 21
    assert release_wait(["web3", "web4"], FOUR, {"web1": 60, "web2": 100}, 110.4, 31) == 21
    assert release_wait(["web3", "web4"], FOUR, {"web1": 60, "web2": 100}, 140, 31) == 0
    # Two hosts: one of them has to serve, and it came back at 100.
    assert release_wait(["web2"], ["web1", "web2"], {"web1": 100}, 110, 31) == 21
    # Doors that never closed are nothing to wait for, whatever the clock says.
    assert release_wait(["web2"], FOUR, {}, 0, 31) == 0
    assert release_wait(FOUR, FOUR, {}, 0, 31, 0) == 0
    assert release_wait(["web1"], ["web1"], {}, 0, 31) == 0
