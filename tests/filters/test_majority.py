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
    for function in (majority, replicas_for_majority):
        with pytest.raises(SizingError):
            function(wrong)
