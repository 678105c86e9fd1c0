"""`understudy models`: what is registered, and moving an alias forward and back. Thin: ask, print.

A server (`http://…`) is asked without importing MLflow; a store without one through `training.local_registry`.
Next module: `bentos.registry`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from training.cli import TRACKING
from training.command_parts import told

if TYPE_CHECKING:
    from bentos.promotion_log import Record
    from bentos.registered import Dataset
    from training.versions import Listed, Shown

registry_option = click.option(
    "--registry",
    envvar=["UNDERSTUDY_REGISTRY_URL", "UNDERSTUDY_TRACKING"],
    default=TRACKING,
    show_default=True,
    show_envvar=True,
    help="http://HOST:PORT of a server, or the store of --tracking.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
alias_option = click.option("--alias", default="champion", show_default=True, help="The alias to move.")
from_option = click.option("--from", "expected", metavar="VERSION", help="Only if the alias is at this version now.")
by_option = click.option("--by", help="Who moves it, for the record [user@host].")
reason_option = click.option("--reason", default="", help="Why, for the record.")


@click.group()
def models() -> None:
    """List, show, promote and roll back registered versions.

    VERSION is a number, an alias, a bundle version (12 hex digits) or a bento tag. Of two promotions of an alias at
    once one wins; the other changes nothing, is told by whom it lost, and exits with 5.
    """


@models.command("list")
@registry_option
@json_option
@told
def list_models(registry: str, as_json: bool) -> None:
    """List the versions, newest first, and what is unfinished."""
    from training.versions import listed

    found = asyncio.run(listed(registry))
    if as_json:
        _json(found)
        return
    _show_list(found)


@models.command()
@click.argument("version")
@registry_option
@json_option
@told
def show(version: str, registry: str, as_json: bool) -> None:
    """Show everything about VERSION: tags, parameters, metrics, data, and the history of its promotions."""
    from training.versions import shown

    found = asyncio.run(shown(registry, version))
    if as_json:
        _json(found)
        return
    _show_one(found)


@models.command()
@click.argument("version")
@alias_option
@from_option
@by_option
@reason_option
@registry_option
@json_option
@told
def promote(
    version: str, alias: str, expected: str | None, by: str | None, reason: str, registry: str, as_json: bool
) -> None:
    """Move the alias to VERSION."""
    from training.versions import promoted

    number, record = asyncio.run(promoted(registry, version, alias, expected, by, reason))
    if as_json:
        _json({"alias": alias, "version": number, "moved": record is not None, "record": record})
    elif record is None:
        click.echo(f"{alias} is at version {number} already")
    else:
        _show_move(record)


@models.command()
@alias_option
@from_option
@by_option
@reason_option
@registry_option
@json_option
@told
def rollback(alias: str, expected: str | None, by: str | None, reason: str, registry: str, as_json: bool) -> None:
    """Undo the last promotion; the next time the one before that."""
    from training.versions import rolled_back

    record = asyncio.run(rolled_back(registry, alias, expected, by, reason))
    if as_json:
        _json({"alias": alias, "version": record.to, "moved": True, "record": record})
        return
    _show_move(record)


def _show_move(record: Record) -> None:
    origin = "not set" if record.origin is None else f"version {record.origin}"
    click.echo(f"{record.alias}: {origin} → version {record.to} (record {record.number}, by {record.by})")


def _show_list(found: Listed) -> None:
    rows = [("version", "bundle", "bento", "aliases", "created (UTC)", "run", "MAP@10 test", "")]
    for each in found.versions:
        metric = "" if each.map_at_10 is None else f"{each.map_at_10:.4f}"
        aliases = ", ".join(each.aliases)
        made_up = "SYNTHETIC" if each.synthetic else ""
        names = (str(each.number), each.bundle_version, each.bento, aliases)
        rows.append((*names, utc(each.created_ms), each.run_id[:8], metric, made_up))
    click.echo("\n".join(_aligned(rows)) if found.versions else "no versions")
    for problem in found.problems:
        click.secho(f"! {problem}", fg="yellow")


def _show_one(found: Shown) -> None:
    version = found.version
    facts = {
        "version": str(version.number),
        "bundle": version.bundle_version,
        "bento": version.bento,
        "aliases": ", ".join(version.aliases) or "–",
        "created": f"{utc(version.created_ms)} UTC",
        "source": found.source,
    }
    facts["run"] = version.run_id
    if found.run:
        facts["run"] += f" {found.run.name} ({found.run.status.lower()})"
    _section("", facts)
    _section("labels", found.labels)
    if found.run:
        _section("parameters", found.run.params)
        _section("versions of libraries", found.run.libraries)
        _section("metrics of the run, last values", {key: f"{value:,.6g}" for key, value in found.run.metrics.items()})
        _section("data", {each.name: _size(each) for each in found.run.data})
    _section(f"on the test period, run {found.evaluation_run[:8]}", {k: _number(v) for k, v in found.test.items()})
    if found.history:
        click.secho("\npromotions", bold=True)
        rows = [("record", "alias", "what", "from", "to", "when (UTC)", "by", "")]
        for each in found.history:
            origin = "–" if each.origin is None else str(each.origin)
            note = each.reason if each.counts else "lost to another, not in force"
            words = (each.alias, each.action, origin, str(each.to), utc(each.at_ms), each.by, note)
            rows.append((str(each.number), *words))
        click.echo("\n".join(f"  {line}" for line in _aligned(rows)))
    for problem in found.problems:
        click.secho(f"! {problem}", fg="yellow")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4f}"


def _size(data: Dataset) -> str:
    """A data set in words; what another tool logged has no size here."""
    import msgspec

    try:
        known = msgspec.json.decode(data.profile or "{}", type=dict[str, int])
    except msgspec.DecodeError:
        known = {}
    sizes = [f"{known[key]:,} {key}" for key in ("ratings", "users", "items") if key in known]
    return ", ".join([f"digest {data.digest}", *sizes])


def _section(title: str, facts: dict[str, str]) -> None:
    if not facts:
        return
    if title:
        click.secho(f"\n{title}", bold=True)
    width = max(len(key) for key in facts) + 2
    for key, value in facts.items():
        click.echo(f"  {key:{width}}{value}".rstrip())


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _json(document: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def utc(milliseconds: int) -> str:
    """A moment in words."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))
