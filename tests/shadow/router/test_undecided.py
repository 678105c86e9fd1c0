"""Since when a record is owed: never later than the earliest request that owes one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadow.router.undecided import Span, Undecided

steps = st.lists(
    st.tuples(st.sampled_from(["begin", "write", "ask"]), st.integers(0, 2), st.integers(-3, 9)), max_size=60
)


def test_without_debts_it_is_now_and_a_request_without_records_is_none() -> None:
    undecided = Undecided()
    assert undecided.since(7) == 7
    undecided.begin(1, 0)
    assert undecided.since(8) == 8


def test_a_request_that_came_after_the_clock_was_set_back_is_the_earliest_of_its_span() -> None:
    undecided = Undecided()
    undecided.begin(50, 1)
    undecided.begin(40, 1)
    assert undecided.since(60) == 40


@given(steps=steps)
def test_it_is_the_earliest_arrival_in_a_span_that_still_owes_or_earlier_whatever_the_clock_does(
    steps: list[tuple[str, int, int]],
) -> None:
    undecided, now, owed = Undecided(), 100, list[tuple[int, Span]]()
    for what, number, jump in steps:
        now += jump
        if what == "begin":
            owed += [(now, undecided.begin(now, number))] * number
        elif what == "write" and owed:
            owed.pop(number % len(owed))[1].owed -= 1
        elif what == "ask":
            since = undecided.since(now)
            assert since <= min([now, *(arrival for arrival, _ in owed)])
            if not owed:
                assert since == now
            assert len(undecided._spans) <= len(owed)
