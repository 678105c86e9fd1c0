from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import RankedList, Unreadable, label, ranked_list
from shadow.contracts import Answer
from tests.analysis.pair_logs import answer


def test_a_body_gives_its_ids_in_order_and_its_source():
    assert ranked_list(answer(["b", "a"], "hybrid")) == RankedList(("b", "a"), "hybrid")


def test_an_empty_list_is_a_list():
    assert ranked_list(answer([], "popular")) == RankedList((), "popular")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"items": null}', '{"items": [{"id": "a"}]}', '{"items": [{"item_id": 7}]}']
)
def test_a_body_of_another_shape_is_named_so(body):
    assert ranked_list(Answer(version="v", status=200, body=body)) == Unreadable("shape")


def test_a_truncated_body_is_not_judged_by_its_prefix():
    assert ranked_list(answer(["a"], truncated=True)) == Unreadable("truncated")


def test_bytes_that_are_no_text_and_no_base64_are_failures_and_no_exceptions():
    assert ranked_list(Answer(version="v", status=200, body="a", body_encoding="base64")) == Unreadable("encoding")
    assert ranked_list(Answer(version="v", status=200, body="//8=", body_encoding="base64")) == Unreadable("shape")


@given(st.text(), st.sampled_from(["utf-8", "base64"]))
@settings(deadline=None)
def test_no_body_raises(body, encoding):
    found = ranked_list(Answer(version="v", status=200, body=body, body_encoding=encoding))
    assert isinstance(found, RankedList | Unreadable)


def of_label(body, **others):
    return label(Answer(version="v", status=200, body=body, **others))


@pytest.mark.parametrize(
    ("body", "items"),
    [
        ('{"label": "spam", "score": 0.9}', ("spam",)),
        ('{"label": 7}', ("7",)),
        ('{"label": false}', ("false",)),
        ('{"label": ""}', ("",)),
        ('{"label": null}', ()),
    ],
)
def test_a_label_is_a_list_of_one_and_null_is_none(body, items):
    assert of_label(body) == RankedList(items, "")


def test_a_label_has_its_source():
    assert of_label('{"label": "spam", "source": "rules"}') == RankedList(("spam",), "rules")


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"label": ["a"]}', '{"label": 0.5}', '{"items": []}'])
def test_a_body_without_a_label_is_of_another_shape(body):
    assert of_label(body) == Unreadable("shape")
    assert of_label(body, truncated=True) == Unreadable("truncated")
