"""JSON, Markdown and HTML are parsed back: every number is in all three, to the last digit, and shown the same."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from analysis.report.html import to_html
from analysis.report.markdown import to_markdown
from analysis.report.result import CANNOT_SAY, Result, from_json, numbers, to_json
from analysis.wording import shown
from tests.analysis.report.samples import NAMES, results


class Page(HTMLParser):
    """The parts of a page that are compared: <data> elements, the rows of the table of every number, all text."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.data: list[tuple[str, str, str]] = []
        self.every: dict[str, float] = {}
        self.text = ""
        self.tags: list[str] = []
        self.open: list[str] = []
        self.scopeless = 0
        self._cells: list[str] = []
        self._inside = False
        self._data: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self._inside = given.get("id") == "every-number"
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th"):
            self._cells.append("")
        if tag == "th":
            self.scopeless += "scope" not in given
        if tag == "data":
            self._data = (given["data-path"], given["value"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "tr" and self._inside and self._cells[0] != "path":
            self.every[self._cells[0]] = float(self._cells[1])
        if tag == "data":
            self._data = None

    def handle_data(self, data):
        self.text += data
        if self._cells:
            self._cells[-1] += data.strip()
        if self._data is not None:
            self.data.append((*self._data, data))


def markdown_numbers(text: str) -> dict[str, float]:
    every = text[text.index("Every number in full precision") :]
    return {path: float(value) for path, value in re.findall(r"^\| `(.+)` \| (\S+) \|$", every, re.MULTILINE)}


def markdown_rows(text: str, title: str) -> list[list[str]]:
    section = text[text.index(f"## {title}") :].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_in_all_three_forms_to_the_last_digit(name):
    result = results()[name]
    expected = numbers(result)
    assert numbers(from_json(to_json(result))) == expected
    assert markdown_numbers(to_markdown(result)) == expected
    assert Page(to_html(result)).every == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_shows_of_a_number_is_its_full_value_rounded_by_the_one_rule(name):
    result = results()[name]
    expected = numbers(result)
    page = Page(to_html(result))
    for path, value, text in page.data:
        assert float(value) == expected[path]
        assert text in {shown(expected[path], unit, sign) for unit in UNITS for sign in (True, False)}
    if result.metrics:
        estimates = {path for path, _, _ in page.data if path.endswith(".estimate")}
        assert estimates == {f"metrics.{each.name}.estimate" for each in result.metrics if each.estimate is not None}


UNITS = ("share", "rate", "ms", "relative", "percent", "count", "plain", "bits", "items")


@pytest.mark.parametrize("name", NAMES)
def test_markdown_and_html_show_the_same_texts_for_the_metrics(name):
    result = results()[name]
    if not result.metrics:
        return
    page = {path: text for path, _, text in Page(to_html(result)).data}
    for row, metric in zip(markdown_rows(to_markdown(result), "Metrics"), result.metrics, strict=True):
        assert row[0].replace("\\", "") == metric.name
        assert row[2].removeprefix("≥ ") == page.get(f"metrics.{metric.name}.estimate", "not defined")
        for column, field in ((4, "margin"), (5, "to_margin"), (6, "noise_floor")):
            assert row[column] == page.get(f"metrics.{metric.name}.{field}", "–")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_self_contained_and_small(name):
    text = to_html(results()[name])
    page = Page(text)
    assert page.open == []
    assert page.scopeless == 0
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    outside = [url for url in re.findall(r"https?://[^\s\"'<]+", text) if url != "http://www.w3.org/2000/svg"]
    assert outside == []
    assert len(text) < 1_000_000
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())


@pytest.mark.parametrize("name", NAMES)
def test_all_forms_say_the_verdict_its_reasons_and_what_a_shadow_log_cannot_say(name):
    result = results()[name]
    page, markdown = Page(to_html(result)).text, to_markdown(result).replace("\\", "")
    for text in (page, markdown, to_json(result).decode()):
        for sentence in (result.verdict, result.meaning, *CANNOT_SAY):
            assert sentence in text
    # Beyond page one nobody may have read: the sentence comes before the first table.
    assert page.index(CANNOT_SAY[0]) < page.index("What this rests on")
    assert markdown.index(CANNOT_SAY[0]) < markdown.index("What this rests on")
    for reason in result.reasons:
        assert " ".join(reason.split()) in " ".join(page.split())


def test_markdown_fits_a_comment():
    assert max(len(to_markdown(result)) for result in results().values()) < 65_000


def test_markup_in_a_log_stays_text():
    result = results()["hostile"]
    assert any("<script>" in row.source for row in result.sources)
    page = to_html(result)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    rows = markdown_rows(to_markdown(result), "Who answered")
    assert {len(row) for row in rows} == {4}
    assert "<script" not in to_markdown(result).replace("\\<", "")


def test_latency_at_the_deadline_is_printed_as_at_least_everywhere():
    result = results()["censored"]
    row = next(row for row in markdown_rows(to_markdown(result), "Metrics") if row[0].startswith("latency"))
    assert row[2].startswith("≥ ")
    assert "…" in row[3]
    assert "≥ " + shown(result.metrics[3].estimate, "ms") in Page(to_html(result)).text


def test_the_json_says_its_schema_and_gives_the_demo_what_it_reads():
    document = json.loads(to_json(results()["hold"]))
    assert document["schema_version"] == 1
    assert document["verdict"] == "HOLD"
    assert {each["name"]: each["decision"] for each in document["metrics"]}["long_tail_share"] == "hold"


def test_equal_inputs_give_equal_bytes():
    result: Result = results()["hold"]
    again = msgspec.json.decode(msgspec.json.encode(result), type=Result)
    assert to_html(again) == to_html(result)
    assert to_markdown(again) == to_markdown(result)
