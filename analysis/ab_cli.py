"""`understudy ab analyze`: an A/B test from a table, or from a split's exposures and a table, judged as planned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from analysis.ab_source import LEAVE_OUT, RULES, Source
from analysis.power_cli import SPENDINGS, refuse

if TYPE_CHECKING:
    from analysis.ab_judging import Metric, Settings

CANNOT_BE_JUDGED: Final = 4
KEYS: Final = ("name", "numerator", "denominator", "margin", "relative", "harm")
EXAMPLE: Final = """\b
Example:
  $ understudy ab analyze users.csv --unit user --arm arm --control A --covariate before \\
      --success name=clicks_per_request,numerator=clicks,denominator=requests \\
      --guardrail name=errors,margin=0.02,harm=higher
"""
SHOWN: Final = ("clicks_per_request wins; every guardrail passes.",)


@click.group()
def ab() -> None:
    """Analyse an A/B test: sample ratio, effects as intervals, guardrails by their margins."""


@ab.command(epilog=EXAMPLE + "\n".join(f"  {line}" for line in SHOWN))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--unit", default="user", show_default=True, help="Column of the unit that was assigned.")
@click.option("--arm", default="arm", show_default=True, help="Column of the arm.")
@click.option("--control", default=None, help="Name of the control: control, or with --exposures primary.")
@click.option("--exposures", default=None, metavar="LOCATION", help="Pair log of a router in split mode: path or URL.")
@click.option("--experiment", default=None, help="Which of the log's experiments.")
@click.option("--since", default=None, metavar="TIME", help="Exposures from then on (after the ramp): 2026-11-30T06Z.")
@click.option("--raw-ids", is_flag=True, help="The unit column has ids: hash them with UNDERSTUDY_UNIT_KEY.")
@click.option("--fraction", type=float, default=None, help="The split's share of users; instead of --share.")
@click.option(
    "--crossed",
    type=click.Choice(RULES),
    default=LEAVE_OUT,
    help="Users in two arms: left out, or all users placed by bucket (of a split).",
    show_default=True,
)
@click.option("--crossed-limit", type=float, default=0.01, show_default=True, help="Share that may be left out.")
@click.option("--plan", type=click.Path(path_type=Path), default=None, help="plan.yaml of `understudy plan new`.")
@click.option("--success", multiple=True, metavar="NAME or KEY=VALUE,…", help="A column, or a ratio of two.")
@click.option("--guardrail", multiple=True, metavar="KEY=VALUE,…", help="The same with margin or relative, and harm.")
@click.option("--share", "shares", multiple=True, type=float, help="Planned share of each arm, the control first.")
@click.option("--alpha", type=float, default=None, help="Of all success metrics (0.05), by Holm.")
@click.option("--guardrail-alpha", type=float, default=None, help="Of each guardrail, one-sided (0.05).")
@click.option("--covariate", "covariates", multiple=True, help="Column from before the experiment (CUPED).")
@click.option(
    "--theta",
    type=click.Choice(("within", "total")),
    default="within",
    show_default=True,
    help="Regression on covariates: within arms, or of all users (Deng et al., tea-tasting).",
)
@click.option("--strata", default=None, help="Column of strata (post-stratification).")
@click.option("--segment", "segments", multiple=True, help="Column of segments.")
@click.option("--day", default=None, help="Column of the day.")
@click.option("--at", default=None, help="A look: fractions of the planned users so far, 0.25,0.5.")
@click.option(
    "--spending", type=click.Choice(SPENDINGS), default=None, help=f"Its bounds: the plan's, else {SPENDINGS[0]}."
)
@click.option("--test", type=click.Choice(("welch", "z")), default="welch", show_default=True, help="Which test.")
@click.option("--format", "form", type=click.Choice(("table", "json", "markdown")), default="table", help="Output.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def analyze(data: Path, form: str, as_json: bool, **given: Any) -> None:
    """Analyse DATA, CSV with a head or Parquet: one row for each user, or several, which are added up.

    With --exposures the log of a router in split mode says who took part and in which arm, and DATA, by the same
    unit, what they did; who has no row did nothing (0). The sample ratio comes first, on users; where it mismatches
    (p < 0.001) nothing else is said. Effects are intervals, absolute and relative. Success metrics share α by Holm, at
    a look by its bound; every guardrail is judged by non-inferiority. Exits 0 when it was analysed, 4 when it cannot
    be, 2 for a usage error.
    """
    from analysis import ab_report
    from analysis.ab import DataError
    from analysis.ab_judging import judge
    from analysis.ab_source import read
    from shadow.segments import PairLogError

    try:
        source = Source.of(given)
        settings = _settings(given)
    except (ValueError, KeyError) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror or error}")
    try:
        judged = judge(read(data, source, settings), settings)
    except DataError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(CANNOT_BE_JUDGED)
    except (PairLogError, ValueError) as error:
        refuse(str(error))
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{data}: {getattr(error, 'strerror', None) or error}")
    forms = {"table": ab_report.to_text, "json": ab_report.to_json, "markdown": ab_report.to_markdown}
    click.echo(forms["json" if as_json else form](judged), nl=False)
    sys.exit(CANNOT_BE_JUDGED if judged.mismatched else 0)


def _settings(given: dict[str, Any]) -> Settings:
    from analysis.ab_judging import Settings
    from analysis.ab_plan import read_plan
    from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING

    planned = read_plan(given["plan"]) if given["plan"] else None
    success = (*(planned.success if planned else ()), *(_metric(text) for text in given["success"]))
    guardrails = (*(planned.guardrails if planned else ()), *(_metric(text) for text in given["guardrail"]))
    if not success:
        raise ValueError("say what is to be told: --success, or --plan")
    if not 0 <= given["crossed_limit"] <= 1:
        raise ValueError(f"--crossed-limit lies between 0 and 1, not {given['crossed_limit']:g}")
    without = [metric.name for metric in guardrails if metric.margin is None]
    if without:
        raise ValueError(f"guardrail {without[0]} needs margin= or relative=")
    fractions = tuple(float(each) for each in given["at"].split(",")) if given["at"] else ()
    spending: str | None = given["spending"]
    looks: tuple[float, ...] = ()
    if planned:
        fractions, looks = planned.looks_so_far(fractions, spending), planned.fractions
        spending = planned.spending
    spending = spending or LAN_DEMETS_OBRIEN_FLEMING
    _check_fractions(fractions, looks, spending)
    return Settings(
        success=success, guardrails=guardrails, shares=_shares(given) or (1.0,) * (planned.arms if planned else 0),
        alpha=_error(given["alpha"], planned.alpha if planned else 0.05), strata=given["strata"], day=given["day"],
        guardrail_alpha=_error(given["guardrail_alpha"], planned.guardrail_alpha if planned else 0.05),
        segments=given["segments"], covariates=given["covariates"], fractions=fractions, looks=looks,
        spending=spending, normal=given["test"] == "z", theta=given["theta"], crossed_limit=given["crossed_limit"],
    )  # fmt: skip


def _shares(given: dict[str, Any]) -> tuple[float, ...]:
    """The planned shares; of a split they must be said, for it is hardly ever half."""
    shares: tuple[float, ...] = given["shares"]
    fraction = given["fraction"]
    if fraction is not None:
        if shares:
            raise ValueError("say --fraction or --share, not both")
        if not 0 < fraction < 1:
            raise ValueError(f"a fraction lies between 0 and 1, not {fraction:g}")
        return 1 - fraction, fraction
    if given["exposures"] and not shares:
        raise ValueError("say --fraction, the split's share of users: the sample ratio is checked against it")
    return shares


def _check_fractions(fractions: tuple[float, ...], planned: tuple[float, ...], spending: str) -> None:
    from analysis.looks import nominal_so_far

    if fractions:
        nominal_so_far(fractions, planned, 0.05, spending)


def _error(said: float | None, planned: float) -> float:
    alpha = planned if said is None else said
    if not 0 < alpha < 0.5:
        raise ValueError(f"an error of {alpha:g} is no error of a test")
    return alpha


def _metric(text: str) -> Metric:
    """A metric of one column's name, or of KEY=VALUE pairs."""
    from analysis.ab_judging import Metric

    if "=" not in text:
        return Metric(name=text, numerator=text)
    pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    unknown = sorted(set(pairs) - set(KEYS))
    if unknown or not pairs.get("name"):
        wrong = f"unknown key {unknown[0]}" if unknown else "no name="
        raise ValueError(f"{text!r}: {wrong}; known are {', '.join(KEYS)}")
    if pairs.get("harm", "lower") not in ("lower", "higher"):
        raise ValueError(f"{text!r}: harm is lower or higher")
    size = pairs.get("margin") or pairs.get("relative")
    margin = None if size is None else float(size)
    if margin is not None and not 0 < margin < float("inf"):
        raise ValueError(f"{text!r}: a margin is positive")
    return Metric(
        name=pairs["name"], numerator=pairs.get("numerator", pairs["name"]), denominator=pairs.get("denominator"),
        margin=margin, relative="relative" in pairs, harm="higher" if pairs.get("harm") == "higher" else "lower",
    )  # fmt: skip
