from __future__ import annotations

from pathlib import Path

from analysis.evidence import OF_LIST, TOGETHER
from analysis.measures import MEASURES, POPULATION, SHADOW_CONTROL, SHADOW_ON_PRIMARY

DOCUMENT = Path(__file__).parents[2] / "docs" / "gate.md"


def test_the_table_of_estimands_is_the_definitions():
    rows = [f"| `{each.name}` | {each.comparison} | {each.average} | {each.harm} |" for each in MEASURES.values()]
    written = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `") and line.count("|") == 5]
    assert [line for line in written if line.split("`")[1] in MEASURES] == rows


def test_every_definition_is_measured_somewhere():
    special = {"errors", "top_1_agreement", "identical_lists"}
    for name, measure in MEASURES.items():
        known = name in OF_LIST or name in TOGETHER or name in special
        assert known or measure.average == POPULATION or measure.comparison == SHADOW_CONTROL, name


def test_what_has_no_direction_is_a_level_of_both_or_has_no_margin():
    assert {each.harm for each in MEASURES.values() if each.comparison == SHADOW_ON_PRIMARY} == {"none"}
