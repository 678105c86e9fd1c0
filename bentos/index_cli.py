"""`understudy index`: the index of a bundle is measured and chosen anew. Next module: `bentos.features_cli`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bentos.command_parts import bundle_argument, path_option, told


@click.group()
def index() -> None:
    """Choose the index of a bundle by measuring."""


@index.command("build")
@bundle_argument
@click.option(
    "--facts", type=path_option(exists=True, dir_okay=False), help="What users did, to leave it out [a stand-in]."
)
@click.option(
    "--target", type=click.FloatRange(0, 1, min_open=True), default=0.995, show_default=True, help="Least recall@10."
)
@click.option("--kinds", help="Only these, with commas; HNSW-IP over 50,000 items only so [all].")
@click.option("--out", type=path_option(file_okay=False), help="Where table, times and plot go [BUNDLE-index].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@told
def index_build(
    bundle: Path, facts: Path | None, target: float, kinds: str | None, out: Path | None, as_json: bool
) -> None:
    """Build every kind of index over the vectors of BUNDLE, measure each as it is served, keep the cheapest.

    The bundle gets it, and a new version with it, in one rename; what is registered or served is not touched.
    """
    import msgspec

    from bentos.bundle import read_vectors, replace_index
    from bentos.index_choice import choose
    from bentos.index_record import beside, record, table
    from bentos.index_timing import QUERIES
    from bentos.seen import from_facts

    before = read_vectors(bundle)
    seen = from_facts(facts, before.user_ids, before.item_ids) if facts else None
    names = [each.strip() for each in kinds.split(",")] if kinds else None
    choice = choose(
        before.item_vectors,
        before.user_vectors,
        seen,
        target=target,
        names=names,
        told=_tell,
    )
    old, new = before.manifest.version, replace_index(bundle, choice).version
    place = out or beside(bundle.absolute())
    found = record(choice, new, place, QUERIES, curves=True)
    if as_json:
        printed = {"before": old, "version": new, "report": choice.report, "measurements": found}
        click.echo(msgspec.json.encode(printed).decode())
        return
    click.echo(table(found))
    click.echo(f"{before.manifest.name}: {old} → {new}" if new != old else f"{before.manifest.tag}: unchanged")
    click.echo(f"table, times and plot → {place}")


def _tell(step: str) -> None:
    """What goes on, on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"  {step}", err=True)
