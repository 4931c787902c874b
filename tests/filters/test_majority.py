"""Numbers that decide who may write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_share import SizingError
from majority import majority, replicas_for_majority


@given(st.integers(min_value=1, max_value=101))
def test_two_majorities_always_share_a_member(count: int) -> None:
    assert 2 * majority(range(count)) > count
    assert 2 * (majority(range(count)) - 1) <= count


@given(st.integers(min_value=3, max_value=101))
def test_two_masters_never_both_have_enough_replicas(count: int) -> None:
    assert 2 * (1 + replicas_for_majority(range(count))) > count


@pytest.mark.parametrize("count", [1, 2])
def test_small_groups_write_without_replicas(count: int) -> None:
    assert replicas_for_majority(range(count)) == 0


@pytest.mark.parametrize("wrong", [[], "redis1", {"redis1": 1}, None])
def test_what_is_no_group_is_refused(wrong: object) -> None:
    empty = "the list is empty, but 1 member at least is needed; add a host to the group"
    said = empty if wrong == [] else f"{wrong!r} is no list; pass the list of members"
    for function in (majority, replicas_for_majority):
        with pytest.raises(SizingError) as raised:
            function(wrong)
        assert str(raised.value) == f"{function.__name__}: {said}"


def test_the_smallest_groups_and_one_member() -> None:
    assert [majority(range(count)) for count in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
    assert [replicas_for_majority(range(count)) for count in (1, 2, 3, 4, 5)] == [0, 0, 1, 2, 2]
