"""Tuning: every combination once, the first is the settings as they are, the test period is out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import ConfigurationError
from training.settings import Machine
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.tuning import combinations, read_space, tune

SPACE = """
origins = 4
[experiment]
name = "m"
about = "for the test"
[experiment.ials]
dimension = 4
sweeps = 2
[try]
regularisation = [0.01, 1.0]
weights = [{}, {2 = 0.5}]
"""


def space(tmp_path: Path, text: str = SPACE) -> Path:
    (tmp_path / "space.toml").write_text(text)
    return tmp_path / "space.toml"


def test_every_combination_comes_once_and_the_first_is_the_experiment_as_it_is(tmp_path: Path) -> None:
    found = [chosen for chosen, _ in combinations(read_space(space(tmp_path)))]
    assert found == [
        {},
        {"regularisation": 0.01, "weights": {}},
        {"regularisation": 0.01, "weights": {"2": 0.5}},
        {"regularisation": 1.0, "weights": {"2": 0.5}},
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SPACE.replace("regularisation = [", "regularization = ["), "regularization"),
        (SPACE.replace("[0.01, 1.0]", "[0.01, -1.0]"), "regularisation"),
        (SPACE.replace("{2 = 0.5}", "{7 = 0.5}"), "'7' is no number of stars"),
        (SPACE + f"seed = {list(range(300))}", "combinations, at most 500"),
        ("origins = 4", "experiment"),
        ("nonsense", "space.toml"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_space(space(tmp_path, text))


def test_the_winner_has_the_highest_pooled_map_and_trial_0_differs_from_itself_by_nothing(tmp_path: Path) -> None:
    data = split_by_time(synthetic_interactions(4, users=200, items=60, per_user=20)).before_test
    told = []
    found = tune(data, {}, read_space(space(tmp_path)), Machine(), on_trial=told.append)
    assert [trial.number for trial in told] == [0, 1, 2, 3]
    assert found.trials == told
    assert (told[0].difference, told[0].difference_error) == (0.0, 0.0)
    best = max(told, key=lambda trial: trial.map_at_10)
    expected = dict(combinations_by_number(tmp_path))[best.number]
    assert found.winner == expected
    assert found.baseline.startswith("popularity")
    assert len(found.origins_us) == 4


def combinations_by_number(tmp_path: Path) -> list[tuple[int, object]]:
    return [(number, each) for number, (_, each) in enumerate(combinations(read_space(space(tmp_path))))]
