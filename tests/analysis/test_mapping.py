"""However a log is cut and whoever reads the parts: the same result, to the last digit."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import mapping
from analysis.adapters import ranked_list
from analysis.judging import judge_log, judge_rows
from analysis.mapping import SchedulerError, read_log
from analysis.measures import MEASURES, NONE
from analysis.reading import read_rows
from analysis.report.result import numbers, to_json
from analysis.rows import together
from shadow.segments import read_pairs
from tests.analysis.pair_logs import CATALOGUE, World, simulated, write_log
from tests.analysis.test_gate import plan
from tests.analysis.test_judging import inputs
from tests.shadow import written


def every_metric() -> list[dict]:
    """All that there are, as a plan has them: whatever can be harm is a guardrail."""
    harmful = {"role": "guardrail", "margin": 0.01, "reason": "for the test"}
    return [
        {"name": each.name, "comparison": each.comparison, "unit": each.units[0]}
        | ({"role": "descriptive"} if each.harm == NONE else harmful)
        for each in MEASURES.values()
    ]


EVERYTHING = plan(*every_metric())
RECORDS = list(simulated(World(users=60, fallback=0.3, shadow_errors=0.05, shadow_empty=0.02, control_fraction=0.8)))
WHOLE = judge_log(RECORDS, inputs(EVERYTHING))


@given(st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_any_partition_in_any_order_gives_the_same_result(parts, seed):
    """Asked for is 1e-12; the join puts all rows in one order, so that there is no difference at all."""
    draw = random.Random(seed)
    cut = [draw.randrange(parts) for _ in RECORDS]
    pieces = [[each for each, place in zip(RECORDS, cut, strict=True) if place == number] for number in range(parts)]
    draw.shuffle(pieces)
    rows = together([read_rows(piece, ranked_list, CATALOGUE) for piece in pieces])
    result = judge_rows(rows, inputs(EVERYTHING))
    found, expected = numbers(result), numbers(WHOLE)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert to_json(result) == to_json(WHOLE)


def test_every_metric_has_an_estimate_or_a_reason_and_is_no_nan():
    assert len(WHOLE.metrics) == len(MEASURES) >= 20
    for each in WHOLE.metrics:
        assert each.estimate is not None, each.name
        assert each.estimate == each.estimate, each.name


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return write_log(tmp_path_factory.mktemp("log"), RECORDS, per_segment=40)


def judged(log: Path, **how) -> bytes:
    rows, health = read_log(read_pairs(log, "demo"), "ranked_list", CATALOGUE, **how)
    return to_json(judge_rows(rows, inputs(EVERYTHING), "demo", health))


def by_one_reader(log: Path) -> bytes:
    pairs = read_pairs(log, "demo")
    return to_json(judge_log(pairs, inputs(EVERYTHING), "demo", lambda: pairs.health))


@pytest.mark.parametrize("part_bytes", [1, 20_000, 1 << 30])
def test_parts_of_any_size_give_what_one_reader_gives(log, monkeypatch, part_bytes):
    monkeypatch.setattr(mapping, "PART_BYTES", part_bytes)
    assert judged(log) == by_one_reader(log)


def test_two_processes_give_the_same(log, monkeypatch):
    monkeypatch.setattr(mapping, "PART_BYTES", 20_000)
    monkeypatch.setattr(mapping, "WORTH_BYTES", 0)
    assert judged(log, processes=2) == by_one_reader(log)


def test_records_in_two_segments_and_damaged_ones_are_counted_as_one_reader_counts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "PART_BYTES", 1)
    directory = tmp_path / "demo" / "inc"
    # Sequence numbers 30 … 59 stand in both; 90 … 119 in none; an exposure is in both too.
    shown = written.exposure(500, "inc", experiment="demo")
    for number, piece in enumerate((RECORDS[:60], RECORDS[30:90], RECORDS[120:150])):
        others = [shown] if number < 2 else []
        written.segment(directory, [*piece, *others])
    last = sorted(directory.glob("*.zst"))[-1]
    last.write_bytes(last.read_bytes()[:-200])
    assert judged(tmp_path) == by_one_reader(tmp_path)
    one = read_pairs(tmp_path, "demo")
    assert len(list(one)) == one.health.records
    _, parts = read_log(read_pairs(tmp_path, "demo"), "ranked_list", CATALOGUE)
    assert msgspec.to_builtins(parts) == msgspec.to_builtins(one.health)
    assert (one.health.duplicates, one.health.other_kind, len(one.health.torn)) == (31, 1, 1)


def test_two_workers_of_dask_give_the_same_numbers(log, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[dask]'")
    monkeypatch.setattr(mapping, "PART_BYTES", 20_000)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        assert judged(log, scheduler=cluster.scheduler_address) == by_one_reader(log)


def test_a_scheduler_that_does_not_answer_is_named(log, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[dask]'")
    monkeypatch.setattr(mapping, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SchedulerError, match=r"tcp://127\.0\.0\.1:1: no Dask scheduler answers there"):
        judged(log, scheduler="tcp://127.0.0.1:1")
