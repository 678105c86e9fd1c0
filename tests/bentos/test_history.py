"""A user's features become rows of one bundle."""

from __future__ import annotations

from bentos.features import Event, Features
from bentos.history import History

ROWS = {"a": 0, "b": 1, "c": 2}


def test_the_latest_rating_of_an_item_counts_and_unknown_items_do_not() -> None:
    events = (Event("a", 2.0, 10), Event("z", 5.0, 40), Event("b", 3.0, 20), Event("a", 5.0, 30))
    found = History.of(Features(None, frozenset({"a", "b", "z"}), events), ROWS)
    assert dict(zip(found.rated.tolist(), found.ratings.tolist(), strict=True)) == {0: 5.0, 1: 3.0}
    assert found.seen == {0, 1}
    assert found.newest_us == 30
    assert found.complete


def test_an_item_of_an_event_is_seen_even_when_the_list_of_seen_ones_is_behind() -> None:
    assert History.of(Features(None, frozenset(), (Event("c", 1.0, 5),)), ROWS).seen == {2}


def test_events_that_do_not_tell_of_every_item_seen_are_not_complete() -> None:
    assert not History.of(Features(None, frozenset({"a", "b"}), (Event("a", 5.0, 1),)), ROWS).complete
    assert not History.of(Features(None, frozenset({"a"})), ROWS).complete


def test_nothing_is_known_of_a_user_without_facts() -> None:
    found = History.of(Features(None, frozenset()), ROWS)
    assert (found.seen, len(found.rated), found.newest_us) == (frozenset(), 0, 0)
