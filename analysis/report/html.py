"""One self-contained HTML file from the result: no network, no script, light and dark, readable when printed.

Every number is a <data> element with its path and its full value; the text inside is the rounded one that Markdown
shows too. Next module: `analysis.report.markdown`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup, escape

from analysis.measures import MEASURES
from analysis.report.plots import forest, latency_curves
from analysis.report.result import Result, numbers, path_part
from analysis.report.times import utc
from analysis.wording import interval, shown

TEMPLATE: Final = "page.html.j2"


def to_html(result: Result) -> str:
    """The whole page as text (UTF-8 when written)."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "interval": interval, "utc": utc, "measures": MEASURES}
    environment.filters["path_part"] = path_part
    return environment.get_template(TEMPLATE).render(
        result=result,
        forest=Markup(forest(result.metrics)),
        curves=Markup(latency_curves(result.latency)),
        every=numbers(result),
    )


def number(path: str, value: float | None, unit: str, sign: bool = True) -> Markup:
    """A number as <data>: its path in the result, its full value, its text."""
    text = shown(value, unit, sign)
    if value is None:
        return escape(text)
    return Markup('<data data-path="{}" value="{}">{}</data>').format(path, repr(value), text)
