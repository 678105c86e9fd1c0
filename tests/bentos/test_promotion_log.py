"""Which records count: by hand first, then for any records in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.promotion_log import LOG, PromotionLog
from bentos.registered import ModelVersion, Tag


def record(number: int, after: int, to: int, origin: int | None = None, **tags: str) -> ModelVersion:
    known = {"alias": "champion", "action": "promote", "by": "ann", "nonce": f"n{number}", **tags}
    known |= {"after": str(after), "to": str(to)} | ({} if origin is None else {"from": str(origin)})
    return ModelVersion(LOG, str(number), created_ms=1_000 * number, tags=[Tag(*each) for each in known.items()])


def counting(*records: ModelVersion) -> list[int]:
    return [each.number for each in PromotionLog.of(list(records)).records if each.counts]


def test_of_two_that_saw_the_same_the_first_counts() -> None:
    assert counting(record(1, 0, 1), record(2, 1, 2), record(3, 1, 3), record(4, 2, 4)) == [1, 2, 4]


def test_one_that_saw_a_record_that_lost_as_the_last_does_not_count() -> None:
    assert counting(record(1, 0, 1), record(2, 0, 2), record(3, 2, 3)) == [1]


def test_aliases_do_not_stand_in_each_others_way() -> None:
    log = PromotionLog.of([record(1, 0, 1), record(2, 0, 2, alias="challenger"), record(3, 1, 3)])
    assert [each.counts for each in log.records] == [True, True, True]
    assert log.aliases == ["champion", "challenger"]
    last = log.last("challenger")
    assert last is not None
    assert last.to == 2
    assert log.last("nobody") is None


def test_what_is_no_record_is_passed_over() -> None:
    odd = [ModelVersion(LOG, "1"), record(2, 0, 2).__class__(LOG, "2", tags=[Tag("alias", "champion")])]
    words = ModelVersion(LOG, "3", tags=[Tag("after", "zero"), Tag("to", "1"), Tag("alias", "a")])
    assert counting(*odd, words, record(4, 0, 1)) == [4]


@pytest.mark.parametrize(("numbers", "hole"), [([], 0), ([1, 2, 3], 0), ([2], 1), ([1, 3], 2), ([1, 2, 5], 3)])
def test_a_deleted_record_is_a_hole(numbers: list[int], hole: int) -> None:
    assert PromotionLog.of([record(number, number - 1, 1) for number in numbers]).hole == hole


def test_the_line_goes_back_over_what_was_rolled_back() -> None:
    steps = [("promote", 2, 1), ("promote", 3, 2), ("rollback", 2, 3), ("promote", 4, 2), ("rollback", 2, 4)]
    records = [record(n, n - 1, to, origin, action=action) for n, (action, to, origin) in enumerate(steps, start=1)]
    lines = [PromotionLog.of(records[:count]).line("champion") for count in range(len(records) + 1)]
    assert lines == [[], [1, 2], [1, 2, 3], [1, 2], [1, 2, 4], [1, 2]]


def test_a_record_in_words() -> None:
    told = PromotionLog.of([record(1, 0, 2, 1), record(2, 1, 3)]).records[0].told
    assert told == "ann moved champion from version 1 to version 2 at 1970-01-01 00:00:01 UTC (record 1)"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 9)), max_size=30))
def test_the_records_that_count_are_one_chain_per_alias_and_later_ones_change_nothing(
    drawn: list[tuple[str, int, int]],
) -> None:
    records = [record(n, after, to, alias=alias) for n, (alias, after, to) in enumerate(drawn, start=1)]
    log = PromotionLog.of(records)
    for alias in log.aliases:
        chain = log.counted(alias)
        assert [each.after for each in chain] == [0, *(each.number for each in chain)][: len(chain)]
    for count in range(len(records)):
        assert PromotionLog.of(records[:count]).records == log.records[:count]
