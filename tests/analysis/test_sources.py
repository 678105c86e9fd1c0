from __future__ import annotations

import pytest

from analysis.adapters import ranked_list
from analysis.estimates import mean
from analysis.evidence import sums
from analysis.measures import MEAN_OF_USERS
from analysis.reading import FAILED_SOURCE
from analysis.sources import UNNAMED, source_changes, source_shares
from shadow.contracts import ARM_ERROR
from tests.analysis.pair_logs import TAIL, TripleReader, World, answer, record, simulated


def triples(*records):
    return TripleReader(ranked_list, TAIL).read(records)


def test_a_silent_fallback_shows_in_the_shares():
    hybrid = answer(["i100"], "hybrid")
    found = triples(
        record(0, primary=hybrid, arm_answer=answer()),
        record(1, primary=hybrid, arm_answer=hybrid),
        record(2, outcome=ARM_ERROR),
        record(3, arm_answer=answer(source="")),
    )
    rows = {row.source: (row.primary, row.control, row.shadow) for row in source_shares(found)}
    assert rows == {
        "hybrid": (0.5, None, 0.25),
        "popular": (0.5, None, 0.25),
        FAILED_SOURCE: (0, None, 0.25),
        UNNAMED: (0, None, 0.25),
    }


def test_contributions_add_up_to_the_estimate_and_the_largest_comes_first():
    found = triples(*simulated(World(users=80, fallback=0.4, shadow_errors=0.1)))
    rows = source_changes(found)
    estimate = mean(sums(found, "long_tail_share", 3_600_000_000), MEAN_OF_USERS)
    assert sum(row.contribution for row in rows) == pytest.approx(estimate.value, rel=1e-12)
    assert (rows[0].primary_source, rows[0].shadow_source) == ("hybrid", "popular")
    assert sum(row.requests for row in rows) == len(found)


def test_nothing_judged_gives_no_row():
    assert source_changes(triples(record(0, outcome="dropped:queue_full"))) == ()
