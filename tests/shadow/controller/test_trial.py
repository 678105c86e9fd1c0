"""status.pairs over restarts of routers and operators: never twice, never backwards, and exact where all was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.control_contract import ArmReport, Report
from shadow.controller.observed import Heard
from shadow.controller.parts import Version
from shadow.controller.resource import Status
from shadow.controller.trial import MOST_COUNTED, counted
from tests.shadow.controller.resources import CHALLENGER, CHAMPION

START = datetime(2026, 11, 30, 12, tzinfo=UTC)


def told(incarnation: str, pairs: int | None, version: str = CHALLENGER.bento) -> Heard:
    arms = () if pairs is None else (ArmReport(arm="shadow", version=version, pairs=pairs),)
    return Heard(incarnation, 0.0, report=Report(arms=arms))


def began(seconds: float, name: str = "x") -> str:
    return f"{START + timedelta(seconds=seconds):%Y%m%dT%H%M%S}-{name}"


@dataclass
class Play:
    """Status, and the routers that the operator heard since it began."""

    status: Status = field(default_factory=Status)
    heard: dict[str, Heard] = field(default_factory=dict)
    now: datetime = START

    def look(self, shadow: Version | None = CHALLENGER) -> int:
        pairs, trial = counted(self.status, shadow, self.heard, self.now)
        # As it comes back from the API server.
        status = Status(shadow=shadow, pairs=pairs, trial=trial)
        self.status = msgspec.json.decode(msgspec.json.encode(status), type=Status)
        return pairs

    def hear(self, incarnation: str, pairs: int | None, version: str = CHALLENGER.bento) -> int:
        self.heard[incarnation] = told(incarnation, pairs, version)
        return self.look()


def test_without_a_shadow_there_are_no_pairs() -> None:
    assert counted(Status(pairs=7), None, {"r": told("i", 3)}, START) == (0, None)


def test_routers_are_added_up_and_a_report_that_comes_again_adds_nothing() -> None:
    play = Play()
    play.hear(began(-60, "a"), None)
    assert play.hear(began(-60, "a"), 10) == 10
    assert play.hear(began(5, "b"), 4) == 14
    assert [play.look(), play.hear(began(5, "b"), 4), play.hear(began(-60, "a"), 12)] == [14, 14, 16]


def test_a_router_that_restarts_begins_at_nought_and_what_it_told_before_stays() -> None:
    play = Play()
    play.look()
    play.hear(began(1, "a"), 10)
    del play.heard[began(1, "a")]
    assert play.hear(began(30, "a2"), 3) == 13


def test_an_operator_that_restarts_counts_nothing_twice() -> None:
    play = Play()
    play.look()
    play.hear(began(1, "a"), 10)
    play.heard.clear()
    assert play.look() == 10
    assert play.hear(began(1, "a"), 11) == 11


def test_an_older_router_tells_nothing_and_is_in_nobodys_way() -> None:
    play = Play(heard={"old": Heard("i", 0.0)})
    assert [play.look(), play.hear(began(1, "a"), 2)] == [0, 2]


def test_another_shadow_begins_at_nought_and_so_does_the_same_one_again() -> None:
    play = Play()
    play.look()
    play.hear(began(1, "a"), 10)
    assert play.look(CHAMPION) == 0
    play.now += timedelta(seconds=60)
    assert play.look(CHALLENGER) == 0
    assert play.hear(began(1, "a"), 12) == 2


def test_a_router_older_than_the_trial_that_was_not_heard_at_its_beginning_counts_from_its_first_report() -> None:
    play = Play()
    play.look()
    assert play.hear(began(-60, "a"), 500) == 0
    assert play.hear(began(-60, "a"), 503) == 3
    assert play.hear("of another form", 9) == 3


def test_the_memory_is_bounded_and_who_was_forgotten_is_not_counted_again() -> None:
    play = Play()
    play.look()
    for number in range(MOST_COUNTED + 10):
        play.heard.clear()
        total = play.hear(began(10 + number), 1)
    assert total == MOST_COUNTED + 10
    assert play.status.trial is not None
    assert len(play.status.trial.counted) <= MOST_COUNTED + 1
    assert play.hear(began(10), 1) == total


steps = st.lists(
    st.tuples(
        st.sampled_from(["count", "report", "stop", "kill", "operator", "look", "garbage"]),
        st.integers(0, 3),
        st.integers(1, 50),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(steps)
def test_whatever_restarts_the_sum_is_what_was_told_and_never_falls(steps: list[tuple[str, int, int]]) -> None:
    """Four places, in each of which one router's life follows another."""
    play, lives, true, said, lived = Play(), [0] * 4, [0] * 4, {}, 0
    play.look()
    for what, place, number in steps:
        play.now += timedelta(seconds=number)
        life = began(1 + lives[place], f"{place}")
        before = play.status.pairs
        if what == "count":
            true[place] += number
        elif what in ("report", "stop"):
            said[life] = true[place]
            play.hear(life, true[place])
        elif what == "operator":
            play.heard.clear()
        elif what == "garbage":
            play.heard["other"] = told("another", number, CHAMPION.bento)
        if what in ("stop", "kill"):
            lived += true[place]
            lives[place], true[place] = lives[place] + 1, 0
            play.heard.pop(life, None)
        assert play.look() >= before
        assert play.status.pairs == sum(said.values()) <= lived + sum(true)
