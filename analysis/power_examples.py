"""Worked examples of the calculator's commands: the arguments, and the lines that are printed first.

They stand in the help; a test runs each and compares. Next module: `analysis.power_cli`.
"""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, list[str]]]] = {
    "proportion": (
        "--baseline 0.20 --absolute 0.05",
        [
            "1,094 users in each of 2 arms, 2,188 in all: a difference of proportions of 0.05 (relative 25 %, on",
            "0.2), with power 0.8.",
        ],
    ),
    "mean": (
        "--sd 12 --mean 40 --relative 0.02 --r-squared 0.3",
        [
            "2,474 users in each of 2 arms, 4,948 in all: a difference of means of 0.8 (relative 2 %, on 40),",
            "with power 0.8.",
        ],
    ),
    "ratio": (
        "--mean 0.52 --sd 0.85 --mean2 2 --sd2 1 --covariance 0.23 --relative 0.1",
        [
            "3,893 users in each of 2 arms, 7,786 in all: a difference of ratios of 0.026 (relative 10 %, on",
            "0.26), with power 0.8.",
        ],
    ),
    "lift": (
        "--mean 0.1 --sd 0.7071 --relative 0.3 --arms 3 --correction none --traffic 4500",
        [
            "11,730 users in each of 3 arms, 35,190 in all, in 8 weeks: a relative lift of 30 % (absolute 0.03,",
            "on 0.1), with power 0.8.",
        ],
    ),
    "one-mean": (
        "--sd 16 --absolute 4",
        ["128 observations (pairs): a difference from the value (mean of differences) of 4, with power 0.8."],
    ),
    "one-proportion": (
        "--baseline 0.05 --absolute 0.02 --sides 1",
        ["822 observations: a difference from the value of 0.02 (relative 40 %, on 0.05), with power 0.8."],
    ),
    "mcnemar": (
        "--discordant 0.04 --absolute 0.01",
        ["3,138 pairs: a difference of the discordant shares p₁₀ − p₀₁ of 0.01, with power 0.8."],
    ),
    "chi-square": ("--df 4 --absolute 0.1", ["1,194 observations in all: Cohen's w of 0.1, with power 0.8."]),
    "noninferiority-mean": (
        "--sd 30 --mean 120 --relative 0.05 --guardrails 3",
        ["496 users in each of 2 arms, 992 in all: a margin of 6 (relative 5 %, on 120), with power 0.9333."],
    ),
    "noninferiority-one-mean": ("--sd 20 --absolute 2", ["620 observations (pairs): a margin of 2, with power 0.8."]),
    "noninferiority-proportion": (
        "--baseline 0.01 --absolute 0.002 --harm higher",
        [
            "30,604 users in each of 2 arms, 61,208 in all: a margin of 0.002 (relative 20 %, on 0.01), with",
            "power 0.8.",
        ],
    ),
    "tost-mean": (
        "--sd 10 --truth 1 --absolute 5",
        ["82 users in each of 2 arms, 164 in all: a margin of 5, with power 0.8."],
    ),
    "tost-one-mean": ("--sd 20 --absolute 2", ["858 observations (pairs): a margin of 2, with power 0.8."]),
    "tost-proportion": (
        "--baseline 0.3 --absolute 0.02",
        [
            "8,993 users in each of 2 arms, 17,986 in all: a margin of 0.02 (relative 6.667 %, on 0.3), with",
            "power 0.8.",
        ],
    ),
    "tost-one-proportion": (
        "--baseline 0.6 --absolute 0.1 --n 500 --convention exact",
        ["power 0.9965: a margin of 0.1 (relative 16.67 %, on 0.6), 500 observations."],
    ),
    "crossover": ("--cv 0.3 --relative 0.25", ["40 subjects in all: a ratio within 1/1.25 to 1.25, with power 0.8."]),
    "crossover-noninferiority": (
        "--cv 0.3 --relative 0.25 --alpha 0.025",
        ["48 subjects in all: a ratio above 1/1.25, with power 0.8."],
    ),
    "quantile": (
        "--quantile 0.95 --absolute 0.01",
        ["1,825 observations: a half-width of the interval in rank of 0.01, with confidence 0.95."],
    ),
    "srm": (
        "--n 100000",
        ["a deviation of the arm's share of 0.006533 at least, with power 0.8: 100,000 users in all arms."],
    ),
    "looks": (
        "--looks 5",
        ["5 looks, lan-demets-obrien-fleming, two-sided α 0.05: 2.5 % more data than a single look for power", "0.8."],
    ),
}
