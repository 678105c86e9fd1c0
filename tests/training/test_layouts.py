"""Films and tags: the first line that does not fit is told with its column, and the others are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import DataError
from training.interactions import Movie
from training.layouts import LAYOUTS, Tag, Tags, read_tags

READERS = {layout.name: layout.read_items for layout in LAYOUTS}
FILMS = "movieId,title,genres\n"
TAGS = "userId,movieId,tag,timestamp\n"


def films(tmp_path: Path, form: str, data: bytes) -> dict[str, Movie]:
    path = tmp_path / "films"
    path.write_bytes(data)
    return READERS[form](path)


def tags(tmp_path: Path, data: bytes) -> list[Tag]:
    path = tmp_path / "tags.csv"
    path.write_bytes(data)
    return read_tags(path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_films_with_two_colons_are_utf_8_as_10m_or_latin_1_as_1m(tmp_path: Path, encoding: str) -> None:
    """Å is C3 85 in UTF-8, and 85 alone is a line's end to Python's splitlines."""
    data = "1::Ådalen 31 (1969)::Drama\r\n\n2::Misérables, Les (1995)::Drama|Musical\n".encode(encoding)
    found = films(tmp_path, "dat", data)
    assert found == {
        "1": Movie("Ådalen 31", ("Drama",), 1969),
        "2": Movie("Misérables, Les", ("Drama", "Musical"), 1995),
    }


def test_films_of_100k_are_latin_1(tmp_path: Path) -> None:
    line = "|".join(["1", "Misérables, Les (1995)", "", "", "", *["0"] * 8, "1", *["0"] * 10])
    assert films(tmp_path, "tab", line.encode("latin-1")) == {"1": Movie("Misérables, Les", ("Drama",), 1995)}


@pytest.mark.parametrize(
    ("form", "good", "bad", "told"),
    [
        ("csv", f"{FILMS}1,A,Drama\n", "2,B\n", "line 3, 2 columns, not 3: '2,B'"),
        ("csv", f"{FILMS}1,A,Drama\n", "x,B,\n", "line 3, column movieId: 'x' is not a whole number from 1"),
        ("csv", f"{FILMS}1,A,Drama\n", "1,B,\n", "line 3, column movieId: film '1' is on line 2 already"),
        ("csv", f"{FILMS}1,A,Drama\n", "2,Am\xe9lie,\n", "line 3, column title: 'Am\\\\udce9lie' is not UTF-8"),
        ("csv", f'{FILMS}1,"A\nB",Drama\n\n', "2,B\n", "line 5, 2 columns, not 3"),
        ("dat", "1::A::Drama\n", "1::B::\n", "line 2, column movieId: film '1' is on line 1 already"),
        ("dat", "1::A::Drama\n", "2::B\n", "line 2, 2 columns, not 3"),
        ("dat", "1::A::Drama\n", "-2::B::\n", "line 2, column movieId: '-2'"),
        ("tab", "1|A|||" + "|0" * 19 + "\n", "2|B|||" + "|0" * 18 + "\n", "line 2, 23 columns, not 24"),
        ("tab", "1|A|||" + "|0" * 19 + "\n", "1|B|||" + "|0" * 19 + "\n", "line 2, column movieId: film '1'"),
    ],
)
def test_a_bad_film_is_told_by_line_and_column_with_the_number_of_others(
    tmp_path: Path, form: str, good: str, bad: str, told: str
) -> None:
    with pytest.raises(DataError, match=told) as caught:
        films(tmp_path, form, (good + bad + bad).encode("latin-1"))
    assert str(caught.value).endswith("; 1 more of 3 lines are bad")
    assert len(films(tmp_path, form, good.encode())) == 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("1,2,x,soon\n", "column timestamp: 'soon' is not a time in seconds"),
        ("1,2,x,\uff11\n", "column timestamp: '\uff11' is not"),
        ("u,2,x,9\n", "column userId: 'u' is not a whole number from 1"),
        ("1,0,x,9\n", "column movieId: '0' is not a whole number from 1"),
        ("1,2,x\n", "3 columns, not 4: '1,2,x'"),
    ],
)
def test_a_bad_tag_is_told_by_line_and_column_with_the_number_of_others(tmp_path: Path, bad: str, told: str) -> None:
    with pytest.raises(DataError, match=f"line 3, {told}") as caught:
        tags(tmp_path, f"{TAGS}1,3,good,9\n{bad}\n1,3,fine,9\n{bad}{bad}".encode())
    assert str(caught.value).endswith("; 2 more of 5 lines are bad")


def test_a_tag_in_latin_1_is_told_by_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tags.csv: line 2, column tag: 'caf\\udce9' is not UTF-8. Save the file as"):
        tags(tmp_path, TAGS.encode() + "1,3,café,9\n".encode("latin-1"))
    assert tags(tmp_path, TAGS.encode() + "1,3,café,9\n".encode()) == [Tag("1", "3", "café", 9_000_000)]


def test_a_file_without_its_names_of_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1 is '1,A,Drama', not 'movieId,title,genres'"):
        films(tmp_path, "csv", b"1,A,Drama\n2,B,Drama\n")
    with pytest.raises(DataError, match="line 1 is '1,3,good,9', not 'userId,movieId,tag,timestamp'"):
        tags(tmp_path, b"1,3,good,9\n")
    with pytest.raises(DataError, match="line 1 is ''"):
        tags(tmp_path, b"")


def test_an_unended_quotation_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2, 2 columns, not 3"):
        films(tmp_path, "csv", f'{FILMS}1,"A,Drama\n2,B,Drama\n'.encode())
    with pytest.raises(DataError, match=r"films: line \d+, field larger than field limit"):
        films(tmp_path, "csv", f'{FILMS}1,"A,Drama\n'.encode() + b"2,B,Drama\n" * 20_000)


def test_tags_are_counted_and_none_are_no_tags(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text(f"{TAGS}1,3,good,9\n1,3,good,9\n")
    assert len(Tags(tmp_path / "tags.csv")) == 2
    assert len(Tags()) == 0


@pytest.mark.data
def test_the_films_of_movielens_1m_are_read_whole(movielens: Path) -> None:
    """3,883 by its README; the file is Latin-1 and has accents."""
    found = READERS["dat"](movielens / "movies.dat")
    assert len(found) == 3_883
    assert found["73"] == Movie("Misérables, Les", ("Drama", "Musical"), 1995)
