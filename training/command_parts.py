"""What the room's commands share: options, the data set by name, progress, errors in one line.

Heavy libraries are imported inside the functions, so that `--help` stays fast. Next module: `training.data_cli`.
"""

from __future__ import annotations

import functools
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bentos.errors import BentosError, PromotionLostError
from training.errors import TrainingError
from training.movielens import PUBLISHED

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from training.data_set import DataSet

PROBE_BYTES = 1 << 20
"""Written to try a place: an empty file can be made where not a byte has room."""
LOST = 5
"""Exit code when another promotion was first: no error, no success, and no code of the gate."""
path_option = functools.partial(click.Path, path_type=Path)
data_option = click.option(
    "--data",
    "source",
    default="ml-1m",
    show_default=True,
    help=f"{', '.join(PUBLISHED)}, or a directory with MovieLens files (also of the 10M, 20M, 25M, 32M forms).",
)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the room's errors and bad input into one line and exit code 2, a lost promotion into exit code 5."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with stoppable():
                command(*args, **kwargs)
        except PromotionLostError as error:
            click.secho(str(error), fg="yellow", err=True)
            sys.exit(LOST)
        except (TrainingError, BentosError, ValueError, OSError) as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(2)

    return run


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, by an exception: what it began is closed and cleared.

    A second one ends it at once. What the command was started to ignore (nohup) stays ignored.
    """

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit(128 + number)

    of_interest = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    taken = [number for number in of_interest if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def fetched(name: str) -> Path:
    """The directory of a published data set, downloaded if need be; what it is and its terms are told."""
    from training.fetching import fetch
    from training.settings import TrainingSettings

    published = PUBLISHED[name]
    with download_bar() as progress:
        directory = fetch(published, TrainingSettings.load().data_dir, click.echo, progress)
    click.echo(f"{published.title}: verified, {directory}\n{published.acknowledgement}")
    return directory


def data_set(source: str) -> DataSet:
    """The data set by name, fetched if need be and silent when it is there, or from a directory.

    That one is synthetic, or had lines that were left out, is told on stderr, whatever the command.
    """
    from training.data_set import DataSet
    from training.settings import TrainingSettings

    cache = TrainingSettings.load().data_dir
    if source not in PUBLISHED:
        found = DataSet.read(Path(source), cache)
        if found.synthetic:
            click.secho(f"{source}: SYNTHETIC data; nothing about quality follows from it", fg="yellow", err=True)
        if found.interactions.repeated:
            words = f"{found.interactions.repeated:,} lines left out, for the user had rated the film before"
            click.secho(f"{source}: {words}", fg="yellow", err=True)
        return found
    published = PUBLISHED[source]
    directory = cache / source
    return DataSet.read(fetched(source) if published.unverified(directory) else directory, cache, published.digest)


def ensure_apart(written: Sequence[Path], read: Sequence[Path]) -> None:
    """`UsageError` when of the places to write one is named twice or is a file that is read: it would be lost."""
    taken = {path.resolve() for path in read}
    for path in written:
        if path.resolve() in taken:
            raise click.UsageError(f"{path} is named twice: what is there would be lost. Choose another place for one")
        taken.add(path.resolve())


def ensure_writable(path: Path, replaced: bool = False) -> None:
    """`OSError` that names `path` when it cannot be written, for who would hear of it only after minutes of computing.

    It is tried, for rights alone do not tell (a full or read-only file system, a user who may do anything). `replaced`:
    it is written beside its place, also when it is there.
    """
    try:
        if path.exists() and not replaced:
            path.open("ab").close()
        else:
            with tempfile.TemporaryFile(dir=path.absolute().parent) as probe:
                probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        reason = f"{error.strerror}, so nothing was computed. Make its directory, or choose another place"
        raise OSError(error.errno, reason, str(path)) from error


def peak_bytes() -> int:
    """The most memory that this process has held.

    On Linux VmHWM (proc_pid_status(5), KiB): ru_maxrss keeps the peak of the parent over fork and exec (getrusage(2)).
    On macOS, which has no /proc, ru_maxrss, in bytes.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def progress_bar(name: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar of things done of all on a terminal, silence elsewhere."""
    from rich.progress import MofNCompleteColumn

    return _bar(name, MofNCompleteColumn())


def download_bar() -> AbstractContextManager[Callable[[int, int], None]]:
    """The same in bytes; 0 of all means that it is not known how many."""
    from rich.progress import DownloadColumn

    return _bar("download", DownloadColumn())


@contextmanager
def _bar(name: str, counted: ProgressColumn) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), counted)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, expected: progress.update(task, completed=done, total=expected or None)
