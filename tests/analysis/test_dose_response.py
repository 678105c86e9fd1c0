from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from analysis.dose_plot import to_svg
from analysis.dose_response import MUTANTS, SMALL, detections, total


@pytest.fixture(scope="module")
def found():
    ticks = []
    every = detections(SMALL, 1, lambda: ticks.append(1))
    assert len(ticks) == total(SMALL)
    return {(each.mutant, each.users): each for each in every}


def test_strong_faults_are_held_with_enough_users_and_never_passed(found):
    for name in ("30 % of slots popular", "3 % empty lists", "stale vectors", "2 ms slower"):
        assert found[name, 1600].held > 0.9
        assert found[name, 1600].passed == 0


def test_more_users_detect_more_and_a_stronger_fault_is_detected_sooner(found):
    assert found["1 % empty lists", 1600].held > found["1 % empty lists", 400].held
    assert found["3 % empty lists", 400].held > found["1 % empty lists", 400].held
    held = [found[f"{share} % of slots popular", 1600].held for share in (5, 10, 20, 30)]
    assert held == sorted(held)
    assert held[0] < 0.2 < 0.9 < held[1]


def test_no_fault_passes_and_a_fault_below_the_margin_too_with_enough_users(found):
    assert found["no fault", 1600].passed > 0.75
    assert found["5 % of slots popular", 1600].passed > 0.75


def test_no_fault_is_seldom_held(found):
    assert all(found["no fault", users].held <= 0.16 for users in SMALL.users)


def test_swapped_ids_are_not_seen_by_guardrails_that_look_at_shares(found):
    assert found["swapped ids", 1600].held <= 0.16


def test_the_plot_has_a_panel_per_mutant_with_both_lines_inside_it(found):
    text = to_svg(list(found.values()))
    root = ET.fromstring(text)
    width, height = (float(root.get(name)) for name in ("width", "height"))
    titles = [each.text for each in root.iter() if each.get("class") == "t"]
    assert titles == [mutant.name for mutant in MUTANTS]
    lines = re.findall(r'points="([^"]+)"', text)
    assert len(lines) == 2 * len(MUTANTS)
    for x, y in (point.split(",") for line in lines for point in line.split()):
        assert 0 < float(x) < width
        assert 0 < float(y) < height
