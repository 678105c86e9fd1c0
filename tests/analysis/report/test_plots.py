from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from analysis.report.plots import REACH, WIDTH, forest, latency_curves
from analysis.report.result import LatencyRow
from analysis.verdict import MetricResult
from tests.analysis.report.samples import NAMES, results

SVG = "{http://www.w3.org/2000/svg}"


def guardrail(**fields) -> MetricResult:
    base = {
        "name": "errors",
        "role": "guardrail",
        "comparison": "shadow - control",
        "average": "mean",
        "harm": "higher",
        "unit": "rate",
        "decision": "pass",
        "reason": "",
        "margin": 0.01,
    }
    return MetricResult(**(base | fields))


def rules(root) -> dict[str, float]:
    return {line.get("class"): float(line.get("x1")) for line in root.iter(f"{SVG}line")}


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_well_formed_and_inside_their_frame(name):
    for picture in (forest(results()[name].metrics), latency_curves(results()[name].latency)):
        if not picture:
            continue
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        for element in root.iter():
            for key in ("x", "x1", "x2", "cx"):
                assert 0 <= float(element.get(key, 0)) <= WIDTH


def test_the_margin_is_at_one_and_the_estimate_where_it_belongs():
    root = ET.fromstring(forest([guardrail(estimate=0.005, lower=0.002, upper=0.008)]))
    lines = rules(root)
    circle = root.find(f"{SVG}circle")
    assert float(circle.get("cx")) == pytest.approx((lines["axis"] + lines["margin"]) / 2, abs=0.2)


def test_where_lower_is_harm_the_picture_is_turned():
    harm = ET.fromstring(forest([guardrail(harm="lower", estimate=-0.005, lower=-0.008, upper=-0.002)]))
    lines = rules(harm)
    assert float(harm.find(f"{SVG}circle").get("cx")) > lines["axis"]


def test_decisions_have_shapes_of_their_own_and_are_written_out():
    shapes = {}
    for decision in ("pass", "pass_with_note", "hold", "inconclusive"):
        text = forest([guardrail(decision=decision, estimate=0.001, lower=0, upper=0.002)])
        shapes[decision] = [tag for tag in ("<circle", "<rect", "l8 8") if tag in text]
        assert decision.replace("_", " ") in text
    assert shapes == {"pass": ["<circle"], "pass_with_note": ["<circle"], "hold": ["<rect"], "inconclusive": ["l8 8"]}


def test_what_is_outside_the_picture_is_an_arrow_and_never_a_wrong_point():
    for sign in (1, -1):
        far = sign * 0.01 * 10 * REACH[1]
        text = forest([guardrail(decision="hold", estimate=far, lower=far - 0.001, upper=far + 0.001)])
        assert "<rect" not in text
        assert re.search(r"L[\d.]+ \d+ L", text)


def test_a_guardrail_without_an_estimate_is_named_too():
    assert "no estimate" in forest([guardrail(decision="inconclusive")])
    assert forest([]) == ""


def row(arm: str, times) -> LatencyRow:
    return LatencyRow(arm=arm, p50_ms=1, p95_ms=1, p99_ms=1, at_deadline=0, curve_ms=tuple(times))


def test_curves_rise_and_constant_or_zero_times_do_not_break_them():
    root = ET.fromstring(latency_curves([row("shadow", [0.0, 1.0, 10.0]), row("control", [1.0, 2.0, 3.0])]))
    for line in root.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    assert latency_curves([row("shadow", [5.0, 5.0])]) == ""
    assert latency_curves([]) == ""
