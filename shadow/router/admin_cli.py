"""`understudy router config …`: what a person, or a preStop hook, asks of a running router by its admin port.

The token is read where the router reads it (`UNDERSTUDY_ADMIN_TOKEN`). Exit codes: 0 done, 1 refused or out of reach.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import msgspec

if TYPE_CHECKING:
    from email.message import Message

DRAIN_SECONDS: Final = 1_300.0
"""For the answer to a drain: more than `deregister_seconds` and `drain_seconds` can be together."""
SECONDS: Final = 10.0
"""For any other answer."""

admin_option = click.option(
    "--admin", default="127.0.0.1:8701", show_default=True, metavar="HOST:PORT", help="The router's admin port."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.group()
def config() -> None:
    """Look at a running router's configuration, put another in force, stop and resume copying, drain."""


@config.command()
@admin_option
@json_option
def get(admin: str, as_json: bool) -> None:
    """Print the configuration in force; its ETag, which `put` asks for, goes to standard error."""
    body, headers = _ask(admin, "GET", "/config")
    if as_json:
        click.echo(msgspec.json.encode({"etag": headers["etag"], "config": msgspec.Raw(body.strip())}))
    else:
        click.echo(body, nl=False)
        click.echo(f"etag: {headers['etag']}", err=True)


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--if-match", "etag", help="The ETag of the configuration that this one replaces.")
@click.option("--force", is_flag=True, help="Replace whatever is in force.")
@admin_option
@json_option
def put(file: Path, etag: str | None, force: bool, admin: str, as_json: bool) -> None:
    """Put the configuration in FILE in force, if the one that it replaces still is."""
    if (etag is None) != force:
        raise click.UsageError("Give either --if-match ETAG (of `get`) or --force.")
    _tell(*_ask(admin, "PUT", "/config", file.read_bytes(), {"if-match": etag or "*"}), as_json)


@config.command()
@admin_option
@json_option
def abort(admin: str, as_json: bool) -> None:
    """Copy nothing any more, at once, whatever is configured later; the primary goes on answering."""
    _tell(*_ask(admin, "POST", "/abort"), as_json)


@config.command()
@admin_option
@json_option
def resume(admin: str, as_json: bool) -> None:
    """Take an abort back."""
    _tell(*_ask(admin, "POST", "/resume"), as_json)


@config.command()
@admin_option
@json_option
def drain(admin: str, as_json: bool) -> None:
    """Let the router finish and end; returns when it has. For a preStop hook."""
    body, _ = _ask(admin, "POST", "/drain", seconds=DRAIN_SECONDS)
    if as_json:
        click.echo(body)
    else:
        click.echo(drained(msgspec.json.decode(body)["pair_log"]))


def drained(log: Mapping[str, int]) -> str:
    """What became of all records; of those that are `unconfirmed` only the log tells whether they are in it."""
    sure = f"{log['confirmed']} confirmed, {log['unconfirmed']} unconfirmed"
    return f"drained: {log['written']} of {log['numbered']} records written ({sure}), {log['dropped']} dropped"


def _tell(body: bytes, headers: Message, as_json: bool) -> None:
    if as_json:
        click.echo(body)
        return
    document: dict[str, Any] = msgspec.json.decode(body)
    suspended = f" ({', '.join(document['suspended'])})" if document["suspended"] else ""
    click.echo(f"generation {document['generation']} in force, mode {document['mode']}{suspended}")
    if "aborted" in document["suspended"] and document.get("unkept"):
        click.secho(f"warning: {document['unkept']}", fg="yellow", err=True)
    click.echo(f"etag: {headers['etag']}", err=True)


def _ask(
    admin: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    seconds: float = SECONDS,
) -> tuple[bytes, Message]:
    """Body and headers of the answer; says what is wrong and ends otherwise."""
    import urllib.error
    import urllib.request

    from shadow.router.settings import token

    try:
        headers = (headers or {}) | {"authorization": f"Bearer {token('UNDERSTUDY_ADMIN_TOKEN').decode()}"}
        # A body of no bytes: urllib would else send a POST without a length.
        data = b"" if body is None and method != "GET" else body
        request = urllib.request.Request(f"http://{admin}{path}", data, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds) as answer:
            return answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        _fail(_detail(error.read()) or f"{method} {path}: {error.code}")
    except (OSError, ValueError) as error:
        _fail(f"{method} {path} at {admin}: {error}. Does a router run there? `admin` in its configuration says where.")


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body.decode(errors="replace").strip()


def _fail(text: str) -> NoReturn:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(1)
