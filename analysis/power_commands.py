"""The table of the calculator's commands: their options and conventions. It imports nothing heavy.

A test compares the conventions with the formulas'. Next module: `analysis.power_examples`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Own:
    """An option of one command: its flag, the design's field it sets, and its type (float, int or choices)."""

    flag: str
    field: str
    kind: type | tuple[str, ...]
    help: str
    required: bool = False


@dataclass(frozen=True)
class Command:
    """One command. `base` is the field that a relative effect refers to; `log` says that effects are log-ratios."""

    name: str
    design: str
    help: str
    conventions: tuple[str, ...]
    own: tuple[Own, ...]
    base: str | None = None
    effect: str = "effect"
    log: bool = False


RATIO: Final = Own("--ratio", "ratio", float, "Treatment observations for one of the control.")
SD: Final = Own("--sd", "sd", float, "Standard deviation.", required=True)
MEAN: Final = Own("--mean", "mean", float, "Mean of the control, for relative effects.")
BASELINE: Final = Own("--baseline", "baseline", float, "Proportion of the control.", required=True)
VALUE: Final = Own("--baseline", "baseline", float, "The value that is tested against.", required=True)
TRUTH: Final = Own("--truth", "truth", float, "True difference, treatment less control.")
DOWN: Final = Own("--down", "down", bool, "Look for a fall when the detectable effect is solved for.")
TOST: Final = ("exact", "noncentral", "normal", "chow")
CV: Final = Own("--cv", "cv", float, "Coefficient of variation (within a subject; parallel: in all).", required=True)
LAYOUT: Final = Own("--layout", "layout", ("2x2", "parallel", "paired"), "Who is measured how often.")
TRUE_RATIO: Final = Own("--truth", "truth", float, "True ratio.")

COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "proportion", "proportion", "Two arms' proportions: clicks, conversions, errors.",
        ("pooled", "pooled-strict", "unpooled", "arcsine", "baseline-null", "continuity", "exact"),
        (BASELINE, RATIO, DOWN), base="baseline",
    ),
    Command(
        "mean", "mean", "Two arms' means.", ("t", "welch", "z"),
        (SD, Own("--sd2", "sd2", float, "Standard deviation of the treatment."), MEAN, RATIO), base="mean",
    ),
    Command(
        "ratio", "ratio", "Two arms' ratios of means by the delta method: clicks per session, users as units.",
        ("delta", "delta-t"),
        (
            Own("--mean", "mean", float, "Mean of the numerator per user.", required=True),
            Own("--sd", "sd", float, "Its standard deviation.", required=True),
            Own("--mean2", "mean2", float, "Mean of the denominator per user.", required=True),
            Own("--sd2", "sd2", float, "Its standard deviation.", required=True),
            Own("--covariance", "covariance", float, "Covariance of both within a user.", required=True),
            RATIO,
        ), base="value",
    ),
    Command(
        "lift", "lift", "The relative lift of a mean, whose error grows with the lift.",
        ("at-alternative", "at-null", "log"),
        (Own("--mean", "mean", float, "Mean of the control.", required=True), SD, RATIO), base="mean",
    ),
    Command(
        "one-mean", "one-mean", "A mean against a value, or paired differences against 0.", ("t", "z"),
        (Own("--sd", "sd", float, "Standard deviation (of the differences).", required=True), MEAN), base="mean",
    ),
    Command(
        "one-proportion", "one-proportion", "A proportion against a value.", ("score", "unpooled", "arcsine", "exact"),
        (VALUE, DOWN), base="baseline",
    ),
    Command(
        "mcnemar", "mcnemar", "Pairs of yes and no, such as errors of both answers to one request.",
        ("connor", "conditional", "exact"),
        (Own("--discordant", "discordant", float, "Share of pairs that differ.", required=True),),
    ),
    Command(
        "chi-square", "chi-square", "A table, or given shares; the effect is Cohen's w.", ("noncentral",),
        (Own("--df", "df", float, "Degrees of freedom.", required=True),),
        effect="Cohen's w",
    ),
    Command(
        "noninferiority-mean", "noninferiority-mean", "A mean is not worse than the control's by a margin.",
        ("t", "welch", "z"),
        (SD, Own("--sd2", "sd2", float, "Standard deviation of the treatment."), MEAN, TRUTH, RATIO),
        base="mean", effect="margin",
    ),
    Command(
        "noninferiority-one-mean", "noninferiority-one-mean", "The same for paired differences.", ("t", "z"),
        (Own("--sd", "sd", float, "Standard deviation of the differences.", required=True), MEAN, TRUTH),
        base="mean", effect="margin",
    ),
    Command(
        "noninferiority-proportion", "noninferiority-proportion", "A proportion is not worse by a margin.",
        ("unpooled", "farrington-manning"),
        (BASELINE, TRUTH, Own("--harm", "harm", ("lower", "higher"), "Which way is worse."), RATIO),
        base="baseline", effect="margin",
    ),
    Command(
        "tost-mean", "tost-mean", "Two arms' means are equivalent within a margin.", TOST, (SD, MEAN, TRUTH, RATIO),
        base="mean", effect="margin",
    ),
    Command(
        "tost-one-mean", "tost-one-mean", "Paired differences are equivalent to 0 within a margin.", TOST,
        (Own("--sd", "sd", float, "Standard deviation of the differences.", required=True), MEAN, TRUTH),
        base="mean", effect="margin",
    ),
    Command(
        "tost-proportion", "tost-proportion", "Two arms' proportions are equivalent within a margin.",
        ("normal", "chow"), (BASELINE, TRUTH, RATIO), base="baseline",
        effect="margin",
    ),
    Command(
        "tost-one-proportion", "tost-one-proportion", "A proportion is equivalent to a value within a margin.",
        ("normal", "chow", "exact"), (VALUE, TRUTH),
        base="baseline", effect="margin",
    ),
    Command(
        "crossover", "crossover", "A ratio is equivalent to 1: bioequivalence, or a latency that stays.",
        ("exact", "noncentral", "normal"), (CV, TRUE_RATIO, LAYOUT, RATIO),
        effect="margin", log=True,
    ),
    Command(
        "crossover-noninferiority", "crossover-noninferiority", "A ratio is not below 1 by more than a margin.",
        ("exact",), (CV, TRUE_RATIO, LAYOUT, RATIO), effect="margin",
        log=True,
    ),
    Command(
        "quantile", "quantile", "Observations for an interval of a quantile, such as a p95.", ("normal", "wilks"),
        (Own("--quantile", "quantile", float, "Which quantile; .95 is the p95.", required=True),),
        effect="half-width in rank",
    ),
    Command(
        "srm", "srm", "Which mismatch of the sample ratio a check finds (α .001).", ("chi-square",),
        (Own("--share", "share", float, "Planned share of the arm."), DOWN), effect="deviation",
    ),
)  # fmt: skip
BY_NAME: Final = {command.name: command for command in COMMANDS}
