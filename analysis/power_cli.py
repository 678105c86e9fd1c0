"""`understudy power`: sample size, smallest detectable effect, power or duration, one command for each design.

The commands are made from `analysis.power_commands`; scipy is imported only when one of them computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from analysis.power_commands import BY_NAME, Command, Own
from analysis.power_examples import EXAMPLES

if TYPE_CHECKING:
    from analysis.power import Answer
    from analysis.power_question import Question

USAGE: Final = 2
LARGEST: Final = 1e100
"""Beyond it, and below its inverse, squares and quotients leave what a double can hold."""
SPENDINGS: Final = (
    "lan-demets-obrien-fleming", "lan-demets-pocock", "obrien-fleming", "pocock", "kim-demets", "hwang-shih-decani"
)  # fmt: skip
FORMATS: Final = ("table", "json", "markdown", "csv", "svg")
SURROUNDINGS: Final = (
    Own("--arms", "arms", int, "Arms of the experiment, the control among them; comparisons share α."),
    Own("--correction", "correction", ("bonferroni", "sidak", "none"), "How comparisons share α."),
    Own("--icc", "icc", float, "Intra-cluster correlation."),
    Own("--cluster-size", "cluster_size", float, "Mean observations in a cluster."),
    Own("--cluster-cv", "cluster_cv", float, "Coefficient of variation of the cluster sizes."),
    Own("--r-squared", "r_squared", float, "Share of the variance that covariates explain (CUPED)."),
    Own("--looks", "looks", int, "Equally spaced looks."),
    Own("--spending", "spending", SPENDINGS, "Bounds of the looks."),
    Own("--guardrails", "guardrails", int, "Guardrails that must pass together: they share β."),
    Own("--success-metric", "success", bool, "A success metric shares β with the guardrails."),
    Own("--traffic", "traffic", float, "Users a week that enter, in all arms."),
    Own("--weeks", "most_weeks", int, "Weeks that there are; with a traffic."),
)
TESTED: Final = (
    Own("--absolute", "absolute", float, "The effect in the metric's own unit."),
    Own("--relative", "relative", float, "The effect as a share of the baseline: 0.05 is 5 %."),
    Own("--n", "n", float, "Observations: of the control where there are arms, else of all."),
    Own("--power", "power", float, "Power that is asked for (0.8)."),
    Own("--solve-for", "solve_for", ("n", "mde", "power", "duration"), "Else what the other options leave open."),
    Own("--alpha", "alpha", float, "Error of the test."),
    Own("--sides", "sides", int, "1 or 2."),
    Own(
        "--correlation", "correlation", float, "Of pairs, --sd being that of one side; else with a covariate: R² is ρ²."
    ),
)


def _option(own: Own) -> click.Option:
    if own.kind is bool:
        return click.Option([own.flag, own.field], is_flag=True, default=False, help=own.help)
    kind = click.Choice(own.kind) if isinstance(own.kind, tuple) else own.kind
    return click.Option([own.flag, own.field], type=kind, default=None, required=own.required, help=own.help)


def _output() -> list[click.Option]:
    return [
        click.Option(["--format", "form"], type=click.Choice(FORMATS), default="table", help="How it is printed."),
        click.Option(["--json", "as_json"], is_flag=True, help="The same as --format json."),
        click.Option(["--curve/--no-curve"], default=True, help="The curve below the table."),
        click.Option(["--out"], type=click.Path(path_type=Path), default=None, help="Write it to a file instead."),
    ]


def example(name: str) -> str:
    """The worked example of a command, for its help."""
    arguments, shown = EXAMPLES[name]
    return "\n".join(["\b", "Example:", f"  $ understudy power {name} {arguments}", *(f"  {line}" for line in shown)])


def _command(command: Command) -> click.Command:
    surroundings = [own for own in SURROUNDINGS if own.field not in {mine.field for mine in command.own}]
    convention = click.Option(
        ["--convention"], type=click.Choice(command.conventions), default=command.conventions[0], show_default=True,
        help="Which formula.",
    )  # fmt: skip
    options = [*map(_option, command.own), *map(_option, TESTED), convention, *map(_option, surroundings)]
    epilog = example(command.name)
    return click.Command(
        command.name, params=[*options, *_output()], callback=_callback(command), help=command.help, epilog=epilog
    )


def _callback(command: Command) -> Callable[..., None]:
    def run(form: str, as_json: bool, curve: bool, out: Path | None, **given: Any) -> None:
        from analysis.formulas import QuestionError

        try:
            _check_numbers(command, given)
            text = _rendered(_answered(command, given), "json" if as_json else form, curve)
            printed(text, out)
        except QuestionError as error:
            refuse(str(error))
        except ArithmeticError:
            refuse("these numbers are too far apart to be computed with: say them in another unit")
        except OSError as error:
            refuse(f"{out}: {error.strerror or error}: choose another --out")

    return run


def _check_numbers(command: Command, given: dict[str, Any]) -> None:
    """Refuse what is no number that can be computed with, by its flag."""
    from analysis.formulas import check

    for own in (*command.own, *TESTED, *SURROUNDINGS):
        value = given.get(own.field)
        if own.kind is float and value:
            fits = 1 / LARGEST <= abs(value) <= LARGEST
            check(fits, f"{own.flag} must be a number between {1 / LARGEST:g} and {LARGEST:g} in size, not {value:g}")


def printed(text: str, out: Path | None) -> None:
    """To the terminal, or to a file."""
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        out.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def refuse(reason: str) -> NoReturn:
    """One line with the reason, and exit 2."""
    click.echo(f"error: {' '.join(reason.split())}", err=True)
    sys.exit(USAGE)


def _answered(command: Command, given: dict[str, Any]) -> Answer:
    """Solve for what was left open."""
    from analysis.formulas import check
    from analysis.power import for_effect, for_n, for_power, n_of_weeks

    question = _question(command, given)
    effect = _effect(command, given, question)
    solve = given["solve_for"] or _left_open(given, effect)
    n = given["n"]
    if n is None and solve in ("mde", "power") and question.around.most_weeks is not None:
        n = n_of_weeks(question, question.around.most_weeks)
    wants = "say the effect: --absolute or --relative"
    if solve == "mde":
        check(
            n is not None,
            "say the effect (--absolute or --relative), or --n (or --traffic and --weeks) for the smallest one",
        )
        return for_effect(question, n)
    check(effect is not None, wants)
    assert effect is not None
    if solve == "power":
        check(n is not None, "say --n, or --traffic and --weeks, to solve for the power")
        return for_power(question, n, effect)
    check(solve != "duration" or question.around.traffic is not None, "a duration needs --traffic")
    return for_n(question, effect)


def _left_open(given: dict[str, Any], effect: float | None) -> str:
    if effect is None:
        return "mde"
    return "power" if given["n"] is not None else "n"


def _question(command: Command, given: dict[str, Any]) -> Question:
    from analysis.formulas import check
    from analysis.power import DESIGNS
    from analysis.power_question import Question, Surroundings

    given = _correlated(command, given)
    kind = DESIGNS[command.design]
    fields = {own.field: given[own.field] for own in command.own if given[own.field] is not None}
    base = None if command.base is None else fields.get(command.base)
    known = set(kind.__dataclass_fields__)
    fields = {name: value for name, value in fields.items() if name in known}
    fields |= {name: given[name] for name in ("alpha", "sides") if given[name] is not None}
    said = [own.field for own in SURROUNDINGS if given.get(own.field) is not None]
    around = {field: given[field] for field in said}
    check("most_weeks" not in around or "traffic" in around, "--weeks needs --traffic")
    if command.name == "srm" and "arms" in around:
        fields["arms"] = around["arms"]
    test = kind(convention=given["convention"], **fields)
    power = 0.8 if given["power"] is None else given["power"]
    check(0 < power < 1, f"power must lie between 0 and 1, not {power:g}")
    return Question(test=test, around=Surroundings(**around), power=power, base=getattr(test, "value", base))


def _correlated(command: Command, given: dict[str, Any]) -> dict[str, Any]:
    """A correlation said as what it changes: the deviation of paired differences, else what a covariate explains."""
    from analysis.formulas import check

    rho = given["correlation"]
    if rho is None:
        return given
    check(-1 < rho < 1, f"a correlation lies between −1 and 1, not {rho:g}")
    if command.name.endswith("one-mean"):
        return given | {"sd": given["sd"] * (2 * (1 - rho)) ** 0.5}
    check(given["r_squared"] is None, "say --correlation or --r-squared, not both")
    return given | {"r_squared": rho**2}


def _effect(command: Command, given: dict[str, Any], question: Question) -> float | None:
    """The effect on the design's scale; absolute and relative must not both be said."""
    import math

    from analysis.formulas import check

    absolute, share = given["absolute"], given["relative"]
    check(absolute is None or share is None, "say the effect once: --absolute or --relative")
    if command.name == "quantile" and absolute is None:
        check(share is None, "a half-width in rank is absolute: --absolute")
        return None if given["n"] is not None or given["solve_for"] == "mde" else question.test.reach()
    if command.log:
        check(share is None or share > -1, "a ratio is positive: --relative must be above −1")
        return _number(absolute) if share is None else math.log1p(share)
    if command.design == "lift":
        return _number(share) if absolute is None else float(absolute) / (question.base or math.nan)
    if share is None:
        return _number(absolute)
    check(bool(question.base), f"a relative {command.effect} needs {_what_base(command)}")
    return float(share) * float(question.base or 0)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _what_base(command: Command) -> str:
    return "an absolute one: there is no baseline here" if command.base is None else f"--{command.base}"


def _rendered(answer: Answer, form: str, with_curve: bool) -> str:
    from analysis import power_report
    from analysis.power_curves import curve
    from analysis.power_plot import to_svg

    if form == "svg":
        return to_svg(curve(answer), answer.n, answer.power, power_report.headline(answer))
    if form == "table":
        return power_report.to_text(answer, with_curve)
    return {"json": power_report.to_json, "markdown": power_report.to_markdown, "csv": power_report.to_csv}[form](
        answer
    )


class _Designs(click.Group):
    """The commands in the order of the table; only the one that is called is made."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Designs first, looks last."""
        return [*BY_NAME, "looks"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name."""
        if cmd_name == "looks":
            from analysis.power_looks import looks

            return looks
        return _command(BY_NAME[cmd_name]) if cmd_name in BY_NAME else None


@click.command(cls=_Designs)
def power() -> None:
    """Plan an experiment: sample size, detectable effect, power or duration.

    What is left open is solved for: with an effect n, with --n (or --traffic and --weeks) the detectable effect, with
    both the power. The effect is said to be --absolute or --relative. Every answer names its convention, formula and
    sources; the other conventions' answers stand below it. An impossible question exits 2 with the reason.
    """
