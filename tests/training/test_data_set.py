"""A data set as commands have it: what does not fit together is told, and nothing later changes what was known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from training.data_set import DataSet
from training.errors import DataError

HEAD = "userId,movieId,rating,timestamp\n"
FILMS = "movieId,title,genres\n"


def write(directory: Path, ratings: list[str], films: int = 9, title: str = "Film") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "ratings.csv").write_text(HEAD + "".join(f"{line}\n" for line in ratings))
    lines = [f"{film},{title} {film} (1990),Drama\n" for film in range(1, films + 1)]
    (directory / "movies.csv").write_text(FILMS + "".join(lines))
    return directory


def many(films: int = 9) -> list[str]:
    """User u rated film f at 100 u + f."""
    return [f"{user},{film},4,{100 * user + film}" for user in range(1, 8) for film in range(1, films + 1)]


def test_films_that_were_rated_and_are_unknown_are_told_with_the_remedy(tmp_path: Path) -> None:
    directory = write(tmp_path / "data", [*many(), "1,77,4,50", "2,77,3,51", "1,88,4,52"])
    words = "film '77' has 2 ratings and is not in movies.csv; so are 1 more films. Add a line for it to movies.csv"
    with pytest.raises(DataError, match=re.escape(words)):
        DataSet.read(directory, tmp_path)


def test_a_later_line_of_the_same_user_and_film_changes_nothing_before_the_cut(tmp_path: Path) -> None:
    """Were the newest kept, user 1's rating of film 1 would vanish from what is known: a gap that tells the future."""
    honest = DataSet.read(write(tmp_path / "honest", many()), tmp_path)
    again = DataSet.read(write(tmp_path / "again", [*many(), "1,1,5,705", "1,2,0.5,706"]), tmp_path)
    assert (honest.interactions.repeated, again.interactions.repeated) == (0, 2)
    assert len(again.interactions) == len(honest.interactions)
    assert again.split.validation_from_us == honest.split.validation_from_us
    for name in ("user", "item", "rating", "timestamp_us"):
        ours, theirs = (getattr(each.split.train, name) for each in (honest, again))
        np.testing.assert_array_equal(ours, theirs)


def test_made_up_films_are_known_by_their_titles_when_the_mark_is_lost(tmp_path: Path) -> None:
    found = DataSet.read(write(tmp_path / "copy", many(), title="Synthetic film"), tmp_path)
    assert found.synthetic.startswith("SYNTHETIC, by the titles of its films; synthetic.json")
    assert found.labels["synthetic"] == found.logged.synthetic == found.synthetic
    assert DataSet.read(write(tmp_path / "real", many()), tmp_path).synthetic == ""
