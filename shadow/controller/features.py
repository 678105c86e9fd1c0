"""`FeaturesReady`: whether the vectors of every version that plays are in the feature store, as the bentos say: pure.

The operator reads no feature store and no Secret. Each bento looks for its own version's announcement in Redis every
5 s (there only when all vectors are) and tells it in `GET /model`; the routers, who alone may reach an arm, ask, and
tell the operator (decision 0021). Next module: `shadow.controller.trial`.
"""

from __future__ import annotations

from collections.abc import Mapping

from shadow.controller.names import PRIMARY
from shadow.controller.observed import Heard
from shadow.controller.resource import Serving, Truth


def features_ready(serving: Serving, routers: Mapping[str, Heard]) -> tuple[Truth, str, str]:
    """Status, reason and message of the condition."""
    plays = [(PRIMARY, serving.primary.bento), *((arm.name, arm.version.bento) for arm in serving.arms)]
    said = {each: _heard(each, routers) for each in plays}
    if missing := [each for each, words in said.items() if "missing" in words]:
        text = f"{_named(missing)}: not, or not wholly, in the feature store, so users get the fallback."
        return "False", "NotLoaded", f"{text} Load them: understudy features load BUNDLE"
    if not any(said.values()):
        return "Unknown", "NoRouter", "No router has told of its bentos yet."
    if other := [each for each, words in said.items() if "loaded" not in words and "other" in words]:
        text = f"{_named(other)}: the bento says that it is another one."
        return "Unknown", "OtherVersion", f"{text} Does spec's bento tag name what its image holds?"
    if silent := [each for each, words in said.items() if "loaded" not in words]:
        text = f"{_named(silent)}: the bento does not answer, does not say, or does not reach its feature store."
        return "Unknown", "NotTold", text
    return "True", "Loaded", f"{_named(list(said))}: all vectors are in the feature store."


def _heard(play: tuple[str, str], routers: Mapping[str, Heard]) -> set[str]:
    """What routers say of one arm's version. Loaded for one of them is loaded: the store is the same."""
    reports = [heard.report for heard in routers.values() if heard.report is not None]
    return {arm.features for report in reports for arm in report.arms if (arm.arm, arm.version) == play} - {""}


def _named(plays: list[tuple[str, str]]) -> str:
    return ", ".join(f"{arm} ({bento})" for arm, bento in plays)
