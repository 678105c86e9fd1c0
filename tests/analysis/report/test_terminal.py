from __future__ import annotations

import pytest

from analysis.report.terminal import HEAD, to_lines
from tests.analysis.report.samples import NAMES, results


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_comes_first_with_its_reasons(name):
    result = results()[name]
    lines = to_lines(result)
    assert lines[0] == f"{result.verdict}  {result.meaning}"
    assert [line.removeprefix("  - ") for line in lines[1 : 1 + len(result.reasons)]] == list(result.reasons)


def test_metrics_are_one_aligned_row_each():
    lines = to_lines(results()["hold"])
    start = next(number for number, line in enumerate(lines) if line.startswith("metric"))
    table = lines[start : start + 6]
    assert [line.split()[0] for line in table[1:]] == [each.name for each in results()["hold"].metrics]
    column = table[0].index(HEAD[-1])
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in table)


def test_only_what_is_wrong_with_the_log_is_listed():
    lines = to_lines(results()["noisy"])
    assert any(line.startswith("  warn: noise floor") for line in lines)
    assert not any(line.startswith("  ok") for line in lines)
