"""`understudy data synth`: made-up data of any size. Next module: `training.cli`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.command_parts import data_set, path_option, peak_bytes, progress_bar, told

if TYPE_CHECKING:
    from training.synthetic_vectors import Vectors


@click.command()
@click.option("--users", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--items", type=click.IntRange(2), default=100_000, show_default=True)
@click.option("--interactions", type=click.IntRange(1), default=30_000_000, show_default=True)
@click.option("--out", type=path_option(file_okay=False), help="A directory for ratings and films, in MovieLens' form.")
@click.option("--bundle", type=path_option(file_okay=False), help="A bundle of the vectors behind the data.")
@click.option("--facts", type=path_option(dir_okay=False), help="All interactions for the feature store, as Parquet.")
@click.option(
    "--norms",
    type=click.Choice(["als", "lognormal", "gaussian"]),
    default="als",
    show_default=True,
    help="Of the vectors: like trained ones, in clusters with log-normal lengths, or without structure.",
)
@click.option("--from", "trained", type=path_option(file_okay=False), help="For als: a bundle; else iALS on ml-1m.")
@click.option("--dimension", type=click.IntRange(1, 1024), help="Of the vectors; that of --from, else 64.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@told
def synth(
    out: Path | None, bundle: Path | None, facts: Path | None, trained: Path | None, dimension: int | None, **sizes: Any
) -> None:
    """Make up interactions of any size, labelled SYNTHETIC: for speed, memory and recall, not for quality.

    The same arguments make the same bytes. Say what to write with --out, --bundle, --facts.
    """
    import msgspec

    from training.settings import TrainingSettings
    from training.synthetic import SyntheticSettings, World
    from training.synthetic_files import Targets, check_room, write

    started, threads = time.monotonic(), TrainingSettings.load().torch_threads
    targets = Targets(out, bundle, facts)
    if targets == Targets():
        raise ValueError("nothing to write: say --out, --bundle or --facts")
    vectors, source = None, "none"
    settings = msgspec.convert({"dimension": dimension or 64, **sizes}, SyntheticSettings)
    check_room(settings, targets)
    if settings.norms == "als":
        vectors, source = _trained(trained, dimension, threads)
        settings = msgspec.structs.replace(settings, dimension=vectors.items.shape[1])
    with progress_bar("interactions") as progress:
        manifest = write(World.of(settings, vectors), source, targets, threads, progress)
    click.echo(
        f"SYNTHETIC: {settings.interactions:,} interactions of {settings.users:,} users with {settings.items:,} items, "
        f"norms {settings.norms}, vectors from {source}, seed {settings.seed}"
    )
    for path, told_as in ((out, "data"), (facts, "facts"), (bundle, manifest.tag if manifest else "")):
        if path is not None:
            click.echo(f"  {told_as} → {path}")
    click.echo(f"{time.monotonic() - started:.1f} s, peak memory {peak_bytes() / 1e6:,.0f} MB")


def _trained(bundle: Path | None, dimension: int | None, threads: int) -> tuple[Vectors, str]:
    """Vectors for `als` and where they are from."""
    from training.synthetic_source import of_bundle, of_fit

    if bundle is not None:
        return of_bundle(bundle, dimension)
    return of_fit(data_set("ml-1m").split.train, "MovieLens-1M", dimension, threads)
