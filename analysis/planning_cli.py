"""`understudy plan new`: a plan that can be signed, as Markdown and YAML, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from analysis.margins_cli import margins
from analysis.power_cli import LARGEST, SPENDINGS, refuse

if TYPE_CHECKING:
    from analysis.planning import Metric, Request

KEYS: Final = ("name", "baseline", "mean", "sd", "absolute", "relative", "harm", "reason")
EXAMPLE: Final = """\b
Example:
  $ understudy plan new --template ab --name ranker-2 --hypothesis "The new ranker is clicked more." \\
      --success name=clicked,baseline=0.2,relative=0.03 \\
      --guardrail "name=errors,baseline=0.01,absolute=0.002,harm=higher,reason=what the SLO leaves" \\
      --traffic 60000 --out plans/ranker-2
"""
SHOWN: Final = "4 weeks, 240,000 users (188,886 needed, most by clicked): plans/ranker-2/plan.yaml, plan.md"


@click.group()
def plan() -> None:
    """Plan an experiment: what is tested, by which margins, on how many users, for how long."""


plan.add_command(margins)


@plan.command(epilog=EXAMPLE + f"  {SHOWN}")
@click.option("--template", required=True, type=click.Choice(("shadow", "ab")), help="A shadow or an A/B test.")
@click.option("--name", required=True, help="Name of the experiment.")
@click.option("--hypothesis", required=True, help="What is believed, in a sentence.")
@click.option("--success", multiple=True, metavar="KEY=VALUE,…", help="A success metric: name, baseline or sd, effect.")
@click.option(
    "--guardrail", multiple=True, metavar="KEY=VALUE,…", help="A guardrail: the effect is its margin; reason."
)
@click.option("--traffic", required=True, type=float, help="Users a week that enter, in all arms.")
@click.option("--weeks", "most_weeks", type=int, default=None, help="Weeks that there are.")
@click.option("--least-weeks", type=int, default=2, show_default=True, help="Weeks at least: weekdays differ.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Of all success metrics, two-sided.")
@click.option("--guardrail-alpha", type=float, default=0.05, show_default=True, help="Of each guardrail, one-sided.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Of all metrics; β is shared among them.")
@click.option("--arms", type=int, default=2, show_default=True, help="Arms, the control among them.")
@click.option("--looks", type=int, default=1, show_default=True, help="Equally spaced looks at success metrics.")
@click.option("--spending", type=click.Choice(SPENDINGS), default=SPENDINGS[0], show_default=True, help="Their bounds.")
@click.option("--r-squared", type=float, default=0.0, show_default=True, help="What covariates explain (CUPED).")
@click.option("--unit", default="user", show_default=True, help="What is assigned and counted.")
@click.option("--ramp", default="0.01,0.1,0.5", show_default=True, help="Shares of the users before, a day each.")
@click.option("--segment", "segments", multiple=True, help="A segment that is looked at.")
@click.option("--exclude", "exclusions", multiple=True, help="Who is left out, fixed now.")
@click.option("--block-hours", type=float, default=6.0, show_default=True, help="Shadow: length of a time block.")
@click.option("--deadline-ms", type=float, default=2000.0, show_default=True, help="Shadow: the arms' deadline.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for plan.yaml and plan.md.")
def new(success: tuple[str, ...], guardrail: tuple[str, ...], out: Path, **given: Any) -> None:
    """Size a plan and write it as YAML (hashed) and Markdown (signed).

    A metric is KEY=VALUE pairs: name; baseline (a proportion) or sd, with mean (a mean; of a shadow the users' paired
    differences); absolute or relative, the effect to be found or the margin; of a guardrail harm (lower or higher) and
    reason, which stands last and may have commas. A plan that cannot reach its power in --weeks is refused with what
    would do, and exits 2.
    """
    from analysis.formulas import QuestionError
    from analysis.planning import sized
    from analysis.planning_text import Words, to_markdown, to_yaml

    try:
        request = _request(success, guardrail, given)
        ramp = tuple(float(share) for share in given["ramp"].split(",") if share.strip())
        said = {key: given[key] for key in ("name", "hypothesis", "unit", "segments", "exclusions", "block_hours",
                                            "deadline_ms")}  # fmt: skip
        words, found = Words(ramp=ramp, **said), sized(request)
        text = to_yaml(found, words)
        _checked(request, text)
        out.mkdir(parents=True, exist_ok=True)
        (out / "plan.yaml").write_bytes(text)
        (out / "plan.md").write_text(to_markdown(found, words, text, str(out / "plan.yaml")), encoding="utf-8")
    except (QuestionError, ValueError) as error:
        refuse(str(error))
    except ArithmeticError:
        refuse("these numbers are too far apart to be computed with: say them in another unit")
    except OSError as error:
        refuse(f"{error.filename or out}: {error.strerror or error}: choose another --out")
    size = f"{found.weeks} weeks, {found.users:,} {words.unit}s ({found.needed:,} needed, most by {found.binding})"
    click.echo(f"{size}: {out / 'plan.yaml'}, plan.md")


def _request(success: tuple[str, ...], guardrail: tuple[str, ...], given: dict[str, Any]) -> Request:
    from analysis.planning import GUARDRAIL, SUCCESS, Request

    metrics = [*(_metric(text, SUCCESS) for text in success), *(_metric(text, GUARDRAIL) for text in guardrail)]
    fields = ("template", "traffic", "alpha", "guardrail_alpha", "power", "arms", "looks", "spending", "r_squared",
              "least_weeks", "most_weeks")  # fmt: skip
    return Request(metrics=tuple(metrics), **{name: given[name] for name in fields})


def _metric(text: str, role: Any) -> Metric:
    """One metric from its pairs; a relative size is made absolute by baseline or mean."""
    from analysis.formulas import check
    from analysis.planning import Metric

    start, _, reason = text.partition("reason=")
    pairs = dict(pair.partition("=")[::2] for pair in start.split(",") if pair.strip())
    pairs = {key.strip(): value.strip() for key, value in pairs.items()}
    unknown = sorted(set(pairs) - set(KEYS))
    check(not unknown, f"unknown key {', '.join(unknown)!s} in {text!r}; known are {', '.join(KEYS)}")
    check(bool(pairs.get("name")), f"{text!r} has no name=")
    check(pairs.get("harm", "lower") in ("lower", "higher"), "harm is lower or higher")
    numbers = {key: _number(pairs["name"], key, pairs[key]) for key in KEYS[1:6] if key in pairs}
    check(
        ("absolute" in numbers) != ("relative" in numbers), f"{pairs['name']}: say absolute= or relative=, one of them"
    )
    base = numbers.get("baseline", numbers.get("mean"))
    check("relative" not in numbers or base is not None, f"{pairs['name']}: a relative size needs baseline= or mean=")
    size = numbers.get("absolute", numbers.get("relative", 0.0) * (base or 0.0))
    return Metric(
        name=pairs["name"], role=role, size=size, baseline=numbers.get("baseline"), sd=numbers.get("sd"),
        harm="higher" if pairs.get("harm") == "higher" else "lower", reason=reason.strip(),
    )  # fmt: skip


def _number(metric: str, key: str, text: str) -> float:
    from analysis.formulas import QuestionError

    try:
        number = float(text)
    except ValueError:
        raise QuestionError(f"{metric}: {key}={text} is no number") from None
    if number and not 1 / LARGEST <= abs(number) <= LARGEST:
        raise QuestionError(f"{metric}: {key}={text} is no number between {1 / LARGEST:g} and {LARGEST:g} in size")
    return number


def _checked(request: Request, text: bytes) -> None:
    """What the gate would refuse is refused now."""
    from analysis.formulas import QuestionError
    from analysis.plan import PlanError, parse_plan

    if request.template != "shadow":
        return
    try:
        parse_plan(text)
    except PlanError as error:
        raise QuestionError(str(error)) from error
