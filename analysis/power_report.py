"""An answer in words, as a table for the terminal, Markdown, JSON and CSV; every form has the same numbers.

Next module: `analysis.power_plot`.
"""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from analysis.formulas_equivalence import Crossover, NoninferiorCrossover
from analysis.formulas_means import Lift
from analysis.formulas_planning import Quantile, rounded_up
from analysis.power import Answer
from analysis.power_curves import by_week, curve, other_conventions
from analysis.power_plot import terminal_curve

SCHEMA_VERSION: Final = 1
WIDTH: Final = 100


def short(value: float) -> str:
    """Four significant digits, without an exponent where people do not need one."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 3 - (math.floor(math.log10(abs(value))) if value else 0)
        text = f"{value:.{max(0, digits)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.3e}"
    return text.replace("-", "−")


def relative(answer: Answer) -> float | None:
    """The effect as a share of its base; None where there is none."""
    test, base = answer.question.test, answer.question.base
    if isinstance(test, Crossover):
        return math.expm1(answer.effect)
    if isinstance(test, Lift):
        return answer.effect
    return None if not base else answer.effect / base


def effect_words(answer: Answer) -> str:
    """The effect in words, absolute and, where it can be, relative."""
    test, name = answer.question.test, answer.formula.effect
    if isinstance(test, Crossover):
        limit = short(math.exp(answer.effect))
        return (
            f"a ratio above 1/{limit}"
            if isinstance(test, NoninferiorCrossover)
            else f"a ratio within 1/{limit} to {limit}"
        )
    if isinstance(test, Lift):
        absolute = short(answer.effect * test.mean)
        return f"a {name} of {short(100 * answer.effect)} % (absolute {absolute}, on {short(test.mean)})"
    share = relative(answer)
    of_base = "" if share is None else f" (relative {short(100 * share)} %, on {short(answer.question.base or 0)})"
    article = "" if name[0].isupper() else "a "
    return f"{article}{name} of {short(answer.effect)}{of_base}"


def size_words(answer: Answer) -> str:
    """The sample in words: each arm and all, or the observations."""
    arms = answer.arms
    if answer.question.ratio == 0:
        return f"{arms.control:,} {answer.formula.counts}"
    if arms.control == arms.treatment:
        return f"{arms.control:,} users in each of {arms.arms} arms, {arms.total:,} in all"
    others = (
        f"{arms.treatment:,} in each of {arms.arms - 1} treatments"
        if arms.arms > 2
        else f"{arms.treatment:,} in the treatment"
    )
    return f"{arms.control:,} users in the control, {others}, {arms.total:,} in all"


def headline(answer: Answer) -> str:
    """The answer in one sentence."""
    if isinstance(answer.question.test, Quantile):
        chance = f"with confidence {short(answer.power)}"
    else:
        chance = f"with power {short(answer.power)}"
    duration = "" if answer.weeks is None else f", in {answer.weeks} week{'s' if answer.weeks != 1 else ''}"
    if answer.solved == "n":
        return f"{size_words(answer)}{duration}: {effect_words(answer)}, {chance}."
    if answer.solved == "effect":
        return f"{effect_words(answer)} at least, {chance}: {size_words(answer)}{duration}."
    return f"{chance[5:]}: {effect_words(answer)}, {size_words(answer)}{duration}."


def formula_line(answer: Answer) -> str:
    """Convention and name of the formula."""
    return f"{answer.formula.design}, convention {answer.formula.convention}: {answer.formula.name}"


def facts(answer: Answer) -> list[tuple[str, str]]:
    """What stands behind the answer, as names and texts."""
    question, formula = answer.question, answer.formula
    around, design = question.around, question.design(answer.inflation)
    rows = [("n", f"{answer.n:,.1f} {formula.counts}"), ("effect", effect_words(answer))]
    rows.append(("power", short(answer.power) + _share_of_beta(answer)))
    sides = "" if question.test.sides == 1 else ", two-sided"
    each = f" for each of {around.arms - 1} comparisons ({around.correction})" if around.arms > 2 else ""
    rows.append(("α", f"{short(design.alpha)}{sides}{each}"))
    if around.icc or around.cluster_size != 1:
        clusters = f"{rounded_up(answer.n / around.cluster_size):,} clusters" + (" an arm" if question.ratio else "")
        rows.append(("clusters", f"{clusters} of {short(around.cluster_size)}, correlation {short(around.icc)}"))
    if around.factor != 1:
        rows.append(("variance factor", f"{short(around.factor)} (clusters and covariates)"))
    if around.looks > 1:
        rows.append(("looks", f"{around.looks}, {around.spending}, inflation {answer.inflation:.4f}"))
    if answer.weeks is not None:
        rows.append(("duration", f"{answer.weeks} whole weeks at {short(around.traffic or 0)} users a week"))
    rows += [("convention", formula.convention), ("formula", f"{formula.name}: {formula.text}")]
    return [*rows, ("source", formula.sources[0]), ("and", formula.sources[1])]


def _share_of_beta(answer: Answer) -> str:
    around = answer.question.around
    if answer.solved == "power" or not around.guardrails:
        return ""
    among = f"{around.guardrails} guardrails" + (" and a success metric" if around.success else "")
    return f" each, so that {among} succeed together with {short(answer.question.power)}"


def others(answer: Answer) -> list[tuple[str, str]]:
    """The other conventions and what they say."""
    found = other_conventions(answer)
    return [(name, f"{rounded_up(value):,}" if answer.solved == "n" else short(value)) for name, value in found.items()]


def weeks_table(answer: Answer) -> list[tuple[str, ...]]:
    """Rows of week, users, power, smallest detectable effect; none without traffic."""
    if answer.question.around.traffic is None:
        return []
    return [
        (str(week), f"{users:,}", short(power), "none" if effect is None else short(effect))
        for week, users, power, effect in by_week(answer)
    ]


WEEKS_HEAD: Final = ("week", "users in all", "power", "detectable effect")


def to_text(answer: Answer, with_curve: bool = True) -> str:
    """Headline, formula, tables and the curve for a terminal, plain text of `WIDTH` columns."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False)
    lines = [*textwrap.wrap(headline(answer), WIDTH), *textwrap.wrap(formula_line(answer), WIDTH)]
    console.print(table(("", ""), facts(answer), shown=False))
    conventions = others(answer)
    if conventions:
        console.print(table(("other convention", answer.solved), conventions))
    if answer.question.around.traffic is not None:
        console.print(table(WEEKS_HEAD, weeks_table(answer)))
    text = "\n".join([*lines, *(line.rstrip() for line in out.getvalue().splitlines())])
    return "\n".join([text, *terminal_curve(curve(answer), answer.n, answer.power)]) if with_curve else text


def table(head: Sequence[str], rows: Sequence[tuple[str, ...]], shown: bool = True) -> Table:
    """Plain rows under a head, which may be left out."""
    made = Table(*head, box=box.SIMPLE, show_header=shown, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    return made


def to_markdown(answer: Answer) -> str:
    """The same as GitHub-flavoured Markdown."""
    parts = [f"**{headline(answer)}**", formula_line(answer), markdown_table(("", ""), facts(answer))]
    conventions = others(answer)
    if conventions:
        parts.append(markdown_table(("other convention", answer.solved), conventions))
    if answer.question.around.traffic is not None:
        parts.append(markdown_table(WEEKS_HEAD, weeks_table(answer)))
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    """Rows under a head as GitHub-flavoured Markdown; a bar in a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def to_json(answer: Answer) -> str:
    """Everything with all digits; `schema_version` counts incompatible changes."""
    question, formula = answer.question, answer.formula
    design = question.design(answer.inflation)
    document = {
        "schema_version": SCHEMA_VERSION,
        "headline": headline(answer),
        "solved": answer.solved,
        "n": answer.n,
        "control": answer.arms.control,
        "treatment": answer.arms.treatment,
        "arms": answer.arms.arms,
        "total": answer.arms.total,
        "weeks": answer.weeks,
        "effect": answer.effect,
        "relative_effect": relative(answer),
        "power": answer.power,
        "alpha": design.alpha,
        "sides": question.test.sides,
        "variance_factor": question.around.factor,
        "inflation": answer.inflation,
        "design": formula.design,
        "convention": formula.convention,
        "formula": {"name": formula.name, "text": formula.text, "sources": list(formula.sources)},
        "counts": formula.counts,
        "effect_is": formula.effect,
        "other_conventions": other_conventions(answer),
        "by_week": [list(row) for row in by_week(answer)] if question.around.traffic is not None else [],
        "curve": [list(point) for point in curve(answer)],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def to_csv(answer: Answer) -> str:
    """The curve: n, power; the effect in the third column."""
    rows = [f"{n!r},{power!r},{answer.effect!r}" for n, power in curve(answer)]
    return "\n".join(["n,power,effect", *rows]) + "\n"
