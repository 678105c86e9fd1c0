"""Ratings files of every layout into one table; what does not fit is told with line, column and how much more."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.interactions import Interactions, Movie
from training.layouts import Layout, Tag, Tags, movie, read_tags
from training.ratings import first_of_each, read_ratings
from training.table_cache import FOLDER, cached_ratings

FORMS = {
    "dat": ("ratings.dat", "movies.dat", "::", ""),
    "csv": ("ratings.csv", "movies.csv", ",", "userId,movieId,rating,timestamp\n"),
    "tab": ("u.data", "u.item", "\t", ""),
}
ROWS = [("10", "7", "4", "100"), ("2", "7", "0.5", "90"), ("10", "31", "3.5", "95")]


def write(directory: Path, form: str, rows: list[tuple[str, ...]]) -> Path:
    name, items, separator, header = FORMS[form]
    directory.mkdir(exist_ok=True)
    (directory / items).touch()
    (directory / name).write_text(header + "".join(separator.join(row) + "\n" for row in rows))
    return directory / name


def read(directory: Path, form: str, rows: list[tuple[str, ...]]) -> Interactions:
    path = write(directory, form, rows)
    return read_ratings(path, Layout.of(directory))


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_gives_the_same_table(tmp_path: Path, form: str) -> None:
    table = read(tmp_path, form, ROWS)
    assert (table.user_ids, table.item_ids) == (["10", "2"], ["31", "7"])
    assert (table.user.tolist(), table.item.tolist()) == ([0, 1, 0], [1, 1, 0])
    assert table.rating.tolist() == [4.0, 0.5, 3.5]
    assert table.timestamp_us.tolist() == [100_000_000, 90_000_000, 95_000_000]
    types = (table.user.dtype, table.item.dtype, table.rating.dtype, table.timestamp_us.dtype)
    assert types == (np.int32, np.int32, np.float32, np.int64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (("x", "7", "4", "100"), "column userId: 'x' is not a whole number from 1"),
        (("-3", "7", "4", "100"), "column userId: '-3' is not"),
        (("9", "99999999999", "4", "100"), "column movieId: '99999999999' is not"),
        (("9", "0", "4", "100"), "column movieId: '0' is not"),
        (("9", "7", "4.3", "100"), "column rating: '4.3' is not a number of stars from 0.5 to 5 in halves"),
        (("9", "7", "5.5", "100"), "column rating: '5.5'"),
        (("9", "7", "0", "100"), "column rating: '0'"),
        (("9", "7", "nan", "100"), "column rating: 'nan'"),
        (("9", "7", "", "100"), "column rating: ''"),
        (("9", "7", "4", "1e9"), "column timestamp: '1e9' is not a time in seconds"),
        (("9", "7", "4", "1700000000000"), "column timestamp: '1700000000000'"),
        (("9", "7", "4"), "3 columns, not 4"),
        (("9", "7", "4", "100", "1"), "5 columns, not 4"),
    ],
)
def test_a_bad_value_is_told_by_line_and_column_with_the_number_of_others(
    tmp_path: Path, form: str, bad: tuple[str, ...], told: str
) -> None:
    line = 3 + bool(FORMS[form][3])
    with pytest.raises(DataError) as caught:
        read(tmp_path, form, [*ROWS[:2], bad, ROWS[2], bad, bad])
    text = str(caught.value)
    assert f"line {line}, {told}" in text
    assert "2 more of 6 lines are bad" in text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("odd", ["0_5", "\uff14", "0x4", "4e0", "+4", " 4", "4 "])
def test_numbers_are_ascii_digits_whether_or_not_another_line_is_bad(tmp_path: Path, form: str, odd: str) -> None:
    header = bool(FORMS[form][3])
    rows = [ROWS[0], ("9", "7", odd, "100"), ROWS[1]]
    with pytest.raises(DataError, match="column rating") as alone:
        read(tmp_path, form, rows)
    assert f"line {2 + header}, column rating: {odd!r}" in str(alone.value)
    with pytest.raises(DataError, match="column rating") as beside:
        read(tmp_path, form, [*rows, ("9", "7", "9.5", "100")])
    assert str(beside.value) == f"{alone.value}; 1 more of 4 lines are bad"
    with pytest.raises(DataError, match="column userId"):
        read(tmp_path, form, [ROWS[0], (odd, "7", "4", "100")])


@pytest.mark.parametrize("form", FORMS)
def test_empty_lines_are_passed_over_whether_or_not_another_line_is_bad(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, ROWS)
    path.write_text(path.read_text().replace("\n", "\n\n"))
    assert len(read_ratings(path, Layout.of(tmp_path))) == 3
    with path.open("a") as out:
        out.write(FORMS[form][2].join(("9", "7", "9.0", "100")) + "\r\n")
    with pytest.raises(DataError, match=f"line {7 + 2 * bool(FORMS[form][3])}, column rating: '9.0' is not"):
        read_ratings(path, Layout.of(tmp_path))


@pytest.mark.parametrize(
    "line", ["1:77:4::5::1000000300", "1::7:4::5::100", "1::7::5:4:100", "1:::7::5:100", "1::7:x:5::100"]
)
def test_nothing_may_stand_between_two_colons(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "dat", ROWS)
    path.write_text(f"{path.read_text()}{line}\n3::7::5::100\n{line}\n")
    with pytest.raises(DataError, match=r"line 4, .*; 1 more of 6 lines are bad"):
        read_ratings(path, Layout.of(tmp_path))


def test_a_block_may_end_between_two_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "dat", ROWS)
    for size in range(1, 30):
        monkeypatch.setattr("training.ratings.PLAIN_BYTES", size)
        assert len(read_ratings(path, Layout.of(tmp_path))) == 3


def test_a_file_without_its_header_or_without_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", ROWS)
    path.write_text("1,2,3,4\n")
    with pytest.raises(DataError, match="line 1 is '1,2,3,4', not 'userId,movieId,rating,timestamp'"):
        read_ratings(path, Layout.of(tmp_path))
    with pytest.raises(DataError, match="no ratings in it"):
        read(tmp_path, "csv", [])


def test_a_directory_without_movielens_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Looked for ratings.dat and movies.dat; ratings.csv and movies.csv; u.data"):
        Layout.of(tmp_path)


@given(st.text("0123456789ex.,:\t-\n nan", max_size=60))
def test_nonsense_is_read_or_refused_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.mktemp("nonsense")
    path = write(directory, "tab", [])
    path.write_text(text)
    with contextlib.suppress(DataError):
        assert len(read_ratings(path, Layout.of(directory))) > 0


def test_the_cache_gives_what_was_read_and_never_what_is_stale_or_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "data", "csv", ROWS)
    layout = Layout.of(tmp_path / "data")
    first = cached_ratings(path, layout, tmp_path)
    (entry,) = (tmp_path / FOLDER).iterdir()
    again = cached_ratings(path, layout, tmp_path)
    assert (again.user_ids, again.item_ids) == (first.user_ids, first.item_ids)
    for name in ("user", "item", "rating", "timestamp_us"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
        assert getattr(again, name).dtype == getattr(first, name).dtype
    entry.write_bytes(entry.read_bytes()[:-10])
    assert cached_ratings(path, layout, tmp_path).rating.tolist() == first.rating.tolist()
    write(tmp_path / "data", "csv", ROWS[:1])
    assert len(cached_ratings(path, layout, tmp_path)) == 1
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_of_several_lines_of_a_user_and_an_item_the_earliest_counts_and_the_others_are_counted(tmp_path: Path) -> None:
    """By hand: 10 rated 7 at 100, 80 and 80; the first line of the earliest moment says 2 stars."""
    rows = [*ROWS, ("10", "7", "2", "80"), ("10", "7", "5", "80"), ("2", "31", "1", "70")]
    table = read(tmp_path, "csv", rows)
    assert table.repeated == 2
    assert table.timestamp_us.tolist() == [90_000_000, 95_000_000, 80_000_000, 70_000_000]
    assert table.rating.tolist() == [0.5, 3.5, 2.0, 1.0]
    kept = cached_ratings(tmp_path / "ratings.csv", Layout.of(tmp_path), tmp_path / "cache")
    again = cached_ratings(tmp_path / "ratings.csv", Layout.of(tmp_path), tmp_path / "cache")
    assert kept.repeated == again.repeated == 2
    assert again.rating.tolist() == table.rating.tolist()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=40))
def test_what_is_kept_is_what_a_dictionary_would_keep(rows: list[tuple[int, int, int]]) -> None:
    user, item = (np.array(column, np.int32) for column in list(zip(*rows, strict=True))[:2])
    seconds = np.array([row[2] for row in rows], np.int64)
    first: dict[tuple[int, int], int] = {}
    for line in sorted(range(len(rows)), key=lambda line: rows[line][2]):
        first.setdefault(rows[line][:2], line)
    kept = first_of_each(user, item, seconds)
    assert (kept is None) == (len(first) == len(rows))
    if kept is not None:
        assert np.flatnonzero(kept).tolist() == sorted(first.values())


def test_titles_years_and_genres() -> None:
    assert movie("Toy Story (1995)", "Animation|Children's") == Movie("Toy Story", ("Animation", "Children's"), 1995)
    assert movie("Toy Story (1995) ", "(no genres listed)") == Movie("Toy Story", (), 1995)
    assert movie("Babylon 5", "") == Movie("Babylon 5", (), None)
    assert movie("Rock (Part 2)", "Drama").year is None


def test_tags_after_the_cut_are_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('userId,movieId,tag,timestamp\n1,3,late,100\n1,2,"funny, too",99\n')
    assert Tags(path).before(100_000_000) == [Tag("1", "2", "funny, too", 99_000_000)]
    assert Tags(path).before(99_000_000) == Tags().before(100_000_000) == []
    path.write_text("userId,movieId,tag,timestamp\n1,2,x,soon\n")
    with pytest.raises(DataError, match="line 2, column timestamp: 'soon'"):
        Tags(path).before(1)


@pytest.mark.data
def test_movielens_100k_is_read_whole(movielens_100k: Path) -> None:
    layout = Layout.of(movielens_100k)
    table = read_ratings(movielens_100k / layout.ratings, layout)
    assert (len(table), len(table.user_ids), len(table.item_ids)) == (100_000, 943, 1_682)
    films = layout.read_items(movielens_100k / layout.items)
    assert films["1"] == Movie("Toy Story", ("Animation", "Children's", "Comedy"), 1995)
    assert set(table.item_ids) <= set(films)


@pytest.mark.data
def test_movielens_latest_small_is_read_whole(movielens_latest_small: Path) -> None:
    """Numbers of its own README: 100,004 ratings and 1,296 tags by 671 users of 9,125 films."""
    layout = Layout.of(movielens_latest_small)
    table = read_ratings(movielens_latest_small / layout.ratings, layout)
    assert (len(table), len(table.user_ids), len(table.item_ids)) == (100_004, 671, 9_066)
    assert len(layout.read_items(movielens_latest_small / layout.items)) == 9_125
    assert layout.tags is not None
    assert len(read_tags(movielens_latest_small / layout.tags)) == 1_296
