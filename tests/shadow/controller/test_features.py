"""FeaturesReady: true, false or unknown by what the bentos say, with a sentence that says what to do."""

from __future__ import annotations

import pytest

from shadow.control_contract import ArmReport, Report
from shadow.controller.features import features_ready
from shadow.controller.observed import Heard
from shadow.controller.resource import Serving
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, CONTROL, SHADOW

PLAY = Serving(CHAMPION, (SHADOW, CONTROL))
VERSIONS = {"primary": CHAMPION.bento, "shadow": CHALLENGER.bento, "control": CHAMPION.bento}


def router(number: int = 1, **said: str) -> dict[str, Heard]:
    arms = tuple(ArmReport(arm=arm, version=VERSIONS[arm], features=word) for arm, word in said.items())
    return {f"r{number}": Heard(f"i{number}", 0.0, report=Report(arms=arms))}


def every(word: str, **other: str) -> dict[str, str]:
    return dict.fromkeys(VERSIONS, word) | other


@pytest.mark.parametrize(
    ("routers", "found", "sentence"),
    [
        ({}, ("Unknown", "NoRouter"), "No router has told of its bentos yet."),
        ({"old": Heard("i", 0.0)}, ("Unknown", "NoRouter"), "No router"),
        (router(**every("")), ("Unknown", "NoRouter"), "No router"),
        (router(**every("loaded")), ("True", "Loaded"), f"primary ({CHAMPION.bento}), shadow ({CHALLENGER.bento})"),
        (router(**every("loaded", shadow="missing")), ("False", "NotLoaded"), f"shadow ({CHALLENGER.bento}): not, or"),
        (router(**every("missing", shadow="loaded")), ("False", "NotLoaded"), f"primary ({CHAMPION.bento}), control"),
        (
            router(**every("loaded", control="unknown")),
            ("Unknown", "NotTold"),
            f"control ({CHAMPION.bento}): the bento",
        ),
        (router(**every("loaded", shadow="other")), ("Unknown", "OtherVersion"), "says that it is another one"),
        (router(**every("loaded", shadow="")), ("Unknown", "NotTold"), "shadow"),
        (router(**every("loaded", shadow="a word of later")), ("Unknown", "NotTold"), "shadow"),
        # One router's bento has lost its Redis: what another one saw there is there.
        (router(**every("unknown")) | router(2, **every("loaded")), ("True", "Loaded"), "all vectors"),
        # A load or a loss is under way: the bad news counts.
        (router(**every("loaded")) | router(2, **every("missing")), ("False", "NotLoaded"), "features load"),
    ],
)
def test_the_condition_says_what_is_known(routers: dict[str, Heard], found: tuple[str, str], sentence: str) -> None:
    status, reason, message = features_ready(PLAY, routers)
    assert (status, reason) == found
    assert sentence in message


def test_words_about_another_version_do_not_count() -> None:
    report = Report(arms=(ArmReport(arm="primary", version=CHALLENGER.bento, features="loaded"),))
    assert features_ready(Serving(CHAMPION), {"r": Heard("i", 0.0, report=report)})[:2] == ("Unknown", "NoRouter")
