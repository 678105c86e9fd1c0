"""The weights of the ranking: read from a file or from variables, refused by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bentos.ranking_settings import RankingSettings, ranking_of, read_ranking, variables_of
from bentos.settings import ServingSettings, serving_environment

WEIGHTS = RankingSettings(diversity=0.25, recency=0.1, recency_of="interaction", tail_slot=10, tail_from=75)


def test_without_a_word_only_relevance_counts() -> None:
    assert ranking_of({}) == RankingSettings()
    assert not RankingSettings().active
    assert all(
        RankingSettings(**{field: 1}).active
        for field in ("diversity", "recency", "tail_slot")  # type: ignore[arg-type]
    )


def test_a_file_becomes_variables_and_these_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "ranking.toml").write_bytes(msgspec.toml.encode(WEIGHTS))
    assert read_ranking(tmp_path / "ranking.toml") == WEIGHTS
    assert ranking_of(variables_of(WEIGHTS)) == WEIGHTS
    assert ServingSettings.load(serving_environment("redis://nowhere", ranking=WEIGHTS)).ranking == WEIGHTS


def test_a_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_RANKING_DIVERSITY", "0.5")
    found = ServingSettings.load(serving_environment("redis://nowhere", ranking=WEIGHTS)).ranking
    assert found == msgspec.structs.replace(WEIGHTS, diversity=0.5)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DIVERSITY", "much", "UNDERSTUDY_RANKING_DIVERSITY: Expected `float`, got `str`, got 'much'"),
        ("DIVERSITY", "-1", "UNDERSTUDY_RANKING_DIVERSITY: Expected `float` >= 0.0"),
        ("RECENCY", "nan", "UNDERSTUDY_RANKING_RECENCY: Expected `float` >= 0.0"),
        ("RECENCY_OF", "birth", "UNDERSTUDY_RANKING_RECENCY_OF: Invalid enum value"),
        ("HALF_LIFE_DAYS", "0", "UNDERSTUDY_RANKING_HALF_LIFE_DAYS: Expected `float` > 0.0"),
        ("TAIL_SLOT", "1.5", "UNDERSTUDY_RANKING_TAIL_SLOT: Expected `int`"),
        ("TAIL_SLOT", "51", "tail_slot ≤ tail_from ≤ candidates is needed, got 51, 50 and 200"),
        ("DIVERSTY", "1", "UNDERSTUDY_RANKING_DIVERSTY is no setting of the ranking; there are UNDERSTUDY_RANKING_C"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        ServingSettings.load({f"UNDERSTUDY_RANKING_{name}": value})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"diversty = 1", "unknown field `diversty`"),
        (b"diversity = -1", "diversity"),
        (b"diversity = ", "ranking.toml: "),
        (b"\xff", "ranking.toml: "),
        (b"tail_slot = 10\ntail_from = 5", "tail_slot ≤ tail_from"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_key(tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "ranking.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=told) as error:
        read_ranking(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.toml: cannot be read"):
        read_ranking(tmp_path / "no.toml")


@pytest.mark.parametrize("text", ["2", "-0.1", "half", "nan"])
def test_the_share_of_told_candidates_is_from_0_to_1(text: str) -> None:
    with pytest.raises(ValueError, match="UNDERSTUDY_RETRIEVED_SHARE must be a number from 0 to 1"):
        ServingSettings.load({"UNDERSTUDY_RETRIEVED_SHARE": text})
