"""Tuning: every combination once, the first is the settings as they are, the test period is out of reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import tuning
from training.errors import ConfigurationError
from training.ials import fit
from training.settings import Machine
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies
from training.tuning import combinations, read_space, tune

SPACE = """
origins = 4
[experiment]
name = "m"
about = "for the test"
[experiment.ials]
dimension = 4
sweeps = 2
[try.ials]
regularisation = [0.01, 1.0]
weights = [{}, {2 = 0.5}]
"""


HYBRID = SPACE.replace("[try.ials]", "[experiment.content]\n[try.content]\nweight = [0.5, 1.0]\n[try.ials]")


def space(tmp_path: Path, text: str = SPACE) -> Path:
    (tmp_path / "space.toml").write_text(text)
    return tmp_path / "space.toml"


def test_every_combination_comes_once_and_the_first_is_the_experiment_as_it_is(tmp_path: Path) -> None:
    found = [chosen for chosen, _ in combinations(read_space(space(tmp_path)))]
    assert found == [
        {},
        {"ials.regularisation": 0.01, "ials.weights": {}},
        {"ials.regularisation": 0.01, "ials.weights": {"2": 0.5}},
        {"ials.regularisation": 1.0, "ials.weights": {"2": 0.5}},
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SPACE.replace("regularisation = [", "regularization = ["), "regularization"),
        (SPACE.replace("[0.01, 1.0]", "[0.01, -1.0]"), "regularisation"),
        (SPACE.replace("{2 = 0.5}", "{7 = 0.5}"), "'7' is no number of stars"),
        (SPACE.replace("[0.01, 1.0]", "[]"), "try.ials"),
        (SPACE.replace("[try.ials]", "[try.als]"), "als"),
        (SPACE + "[try.content]\nweight = [0.9]\n", r"try.content: there is no \[experiment.content\]"),
        (HYBRID.replace("weight = [", "wait = ["), "try.content.wait"),
        (HYBRID.replace("[0.5, 1.0]", "[0.5, 1.5]"), "try.content.weight = 1.5"),
        (SPACE.replace("origins = 4", "origins = 3"), "origins"),
        (SPACE.replace("origins = 4", "held_out = 11"), "held_out"),
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


def test_a_hybrids_share_and_ridge_are_searched_and_factors_are_fitted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = split_by_time(synthetic_interactions(4, users=200, items=60, per_user=20))
    text = HYBRID.replace("weight = [0.5, 1.0]", "weight = [0.5, 1.0]\nregularisation = [1.0, 50.0]")
    text = text[: text.index("[try.ials]")]
    fitted = []
    monkeypatch.setattr(tuning, "fit", lambda *args, **kwargs: fitted.append(1) or fit(*args, **kwargs))
    movies = synthetic_movies(data.before_test)
    found = tune(data.before_test, movies, read_space(space(tmp_path, text)), Machine(), lambda trial: None)
    assert len(found.trials) == 5
    assert len(fitted) == 4
    assert {"content.weight": 0.5, "content.regularisation": 50.0} in [trial.settings for trial in found.trials]
    # With the whole share the content, however regularised, moves nothing.
    alone = [trial.map_at_10 for trial in found.trials if trial.settings.get("content.weight") == 1.0]
    assert alone[0] == alone[1]


def test_held_out_items_are_what_a_space_of_cold_items_is_asked(tmp_path: Path) -> None:
    data = split_by_time(synthetic_interactions(4, users=300, items=80, per_user=25))
    text = HYBRID.replace("origins = 4", "origins = 4\nheld_out = 3").replace("weight = [0.5, 1.0]", "weight = [0.5]")
    wanted = read_space(space(tmp_path, text[: text.index("[try.ials]")]))
    for asked in tuning.asked_of(data.before_test, wanted):
        cold = np.flatnonzero(asked.task.candidates)
        assert not np.isin(asked.origin.before.item, cold).any()
        assert all(relevant <= set(cold.tolist()) for relevant in asked.task.relevant.values())
    found = tune(data.before_test, synthetic_movies(data.before_test), wanted, Machine(), lambda trial: None)
    # Films have the genre of their group, and users like a group: content knows what popularity cannot.
    assert found.trials[0].map_at_10 > 1.3 * found.baseline_map_at_10
