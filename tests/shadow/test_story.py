"""What the story does with what its steps tell: with a set that plays back prepared answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadow.accounting import ArmCounts, PairLogCounts, RouterCounts
from shadow.demo import Story
from shadow.processes import StepError


class Played:
    """Stands where the set of real processes stands; notes every command."""

    def __init__(self, directory: Path, wrong: list[str], decision: str) -> None:
        self.directory, self.pairs = directory, directory / "pairs"
        self.wrong, self.decision = wrong, decision
        self.commands: list[list[str]] = []
        self.stage = self

    def run(self, *arguments: str | Path, **_: Any) -> str:
        words = [str(each) for each in arguments]
        self.commands.append(words)
        if words[0] == "gate":
            out = Path(words[words.index("--out") + 1])
            out.mkdir(parents=True)
            metric = {"name": "long_tail_share", "decision": self.decision}
            (out / "report.json").write_bytes(msgspec.json.encode({"verdict": "HOLD", "metrics": [metric]}))
        return ""

    def replay(self, *_: Any) -> dict[str, Any]:
        return {"requests": 5}

    def counts(self) -> RouterCounts:
        arm = ArmCounts(received=5, refused=0, not_eligible=0, not_sampled=0, in_flight=0, outcomes={"paired": 5})
        log = PairLogCounts(numbered=5, written=5, dropped=0, queued_bytes=0)
        return RouterCounts(incarnation="a", arms={"shadow": arm}, pair_log=log)

    def metrics(self) -> str:
        return ""

    def accounts(self, *_: Any) -> list[str]:
        return self.wrong

    def stop(self, name: str) -> int:
        return 0

    def start_bento(self, *_: Any) -> None: ...

    def start_router(self, *_: Any) -> None: ...

    def close_log(self) -> None: ...


def story(directory: Path, wrong: list[str] | None = None, decision: str = "pass") -> Story:
    told = Story(Played(directory, wrong or [], decision), 1, 1)  # type: ignore[arg-type]
    told.tags = {"champion": "champion:1", "challenger": "challenger:2"}
    return told


def test_accounts_that_disagree_end_the_story_with_every_sentence(tmp_path: Path) -> None:
    told = story(tmp_path, ["shadow: the client sent 6 but the router received 5", "a second one"])
    with pytest.raises(StepError, match=r"(?s)log disagree:.*client sent 6.*a second one"):
        told.shadow_run("demo", "challenger")


def test_accounts_that_agree_go_into_the_summary(tmp_path: Path) -> None:
    told = story(tmp_path)
    told.shadow_run("demo", "challenger")
    assert told.summary["demo"]["counters"]["arms"]["shadow"]["outcomes"] == {"paired": 5}


def test_a_hold_of_the_challenger_is_a_result(tmp_path: Path) -> None:
    told = story(tmp_path, decision="hold")
    told.summary["demo"] = {}
    told.gate("demo", "challenger")
    assert told.summary["demo"]["report"]["verdict"] == "HOLD"
    assert "--exit-zero" in told.set.commands[-1]  # type: ignore[attr-defined]


def test_a_champion_held_against_itself_for_its_lists_ends_the_story(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="HELD against itself for long_tail_share"):
        story(tmp_path, decision="hold").champion_against_itself()


def test_a_champion_that_passes_against_itself_does_not(tmp_path: Path) -> None:
    story(tmp_path).champion_against_itself()
