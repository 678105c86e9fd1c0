from __future__ import annotations

from analysis.report.times import utc
from tests.analysis.pair_logs import START_US


def test_times_are_utc_and_no_number_breaks_them():
    assert utc(START_US) == "2000-12-02 00:00 UTC"
    assert utc(-1) == "1969-12-31 23:59 UTC"
    assert utc(10**30) == f"{10**30} µs"
