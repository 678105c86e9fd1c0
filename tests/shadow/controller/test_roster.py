"""The routers of a resource: who is remembered, and what of what they say is new."""

from __future__ import annotations

import msgspec
import pytest

from shadow.control_contract import Acknowledgement, ArmReport, Report
from shadow.controller.observed import Heard
from shadow.controller.roster import (
    COUNTS,
    FORGET_SECONDS,
    LONGEST_NAME,
    LONGEST_TEXT,
    MORE,
    Roster,
    acknowledged,
    inferred,
    reported,
)


def told(pairs: int, version: str = "v:1") -> str:
    arm = ArmReport(arm="shadow", version=version, pairs=pairs, features="loaded")
    return msgspec.json.encode(Report(arms=(arm,))).decode()


def test_a_router_is_the_same_one_until_it_begins_anew() -> None:
    roster = Roster()
    first = roster.heard("r", "i", 0.0, 1)
    assert first is not None
    first.accepted = 7
    assert roster.heard("r", "i", 5.0, 1) is first
    assert first.at == 5.0
    anew = roster.heard("r", "j", 6.0, 1)
    assert anew is not None
    assert (anew.accepted, len(roster)) == (0, 1)


def test_names_of_any_length_are_cut_and_still_known() -> None:
    roster = Roster()
    first = roster.heard("r" * 500, "i" * 500, 0.0, 2)
    assert roster.heard("r" * 500, "i" * 500, 1.0, 2) is first
    assert list(roster.alive(1.0)) == ["r" * LONGEST_NAME]


def test_a_full_roster_takes_nobody_new_until_somebody_is_forgotten() -> None:
    roster = Roster()
    assert roster.heard("a", "i", 0.0, 1) is not None
    assert roster.heard("b", "i", FORGET_SECONDS - 1, 1) is None
    assert roster.heard("a", "j", 1.0, 1) is not None
    assert roster.heard("b", "i", FORGET_SECONDS + 1, 1) is not None
    assert list(roster.alive(FORGET_SECONDS + 1)) == ["b"]


def test_a_refusal_is_kept_with_the_beginning_of_its_reason() -> None:
    router = Heard("i", 0.0, accepted=6)
    acknowledged(router, Acknowledgement(router="r", incarnation="i", generation=7, accepted=False, error="x" * 5_000))
    assert (router.accepted, router.refused, router.error) == (6, 7, "x" * LONGEST_TEXT)
    acknowledged(router, Acknowledgement(router="r", incarnation="i", generation=8, accepted=True))
    assert (router.accepted, router.refused, router.error) == (8, 7, "")


@pytest.mark.parametrize(
    ("router", "new"),
    [
        (Heard("i", 0.0, accepted=6), True),
        (Heard("i", 0.0, accepted=7), False),
        (Heard("i", 0.0, refused=7), False),
        (Heard("i", 0.0, accepted=6, suspended=("lease_expired",)), False),
    ],
)
def test_who_asks_with_the_newest_generation_has_it_unless_it_said_otherwise(router: Heard, new: bool) -> None:
    assert inferred(router, 7, newest=7) is new
    assert inferred(Heard("i", 0.0), 6, newest=7) is False


def test_of_a_report_counts_can_wait_and_what_cannot_be_read_changes_nothing() -> None:
    router = Heard("i", 0.0)
    heard = [reported(router, text) for text in (told(1), told(1), told(2), "{", "", told(2, version="v:2"))]
    assert heard == [MORE, "", COUNTS, "", "", MORE]
    assert router.report is not None
    assert router.report.arms[0].version == "v:2"
