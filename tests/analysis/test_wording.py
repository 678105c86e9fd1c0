from __future__ import annotations

import pytest

from analysis.wording import NOT_DEFINED, interval, shown


@pytest.mark.parametrize(
    ("value", "unit", "sign", "text"),
    [
        (0.01234, "share", True, "+0.0123"),
        (-0.01234, "rate", True, "−0.0123"),
        (0.5, "share", False, "0.5000"),
        (0.00001, "share", True, "0.0000"),
        (-0.00001, "share", True, "0.0000"),
        (1234.567, "ms", True, "+1234.57 ms"),
        (0.1, "relative", True, "+10.0 %"),
        (0.98765, "percent", False, "98.77 %"),
        (1e-26, "p", True, "1e−26"),
        (12345.6, "count", False, "12,346"),
        (None, "ms", True, NOT_DEFINED),
    ],
)
def test_a_number_is_shown_by_the_rule_of_its_unit(value, unit, sign, text):
    assert shown(value, unit, sign) == text


def test_an_open_side_of_an_interval_is_open():
    assert interval(1.0, None, "ms") == "[+1.00 ms, …]"
    assert interval(None, None, "ms") == NOT_DEFINED
