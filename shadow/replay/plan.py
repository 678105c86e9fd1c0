"""What one replay sends, when, and with what it compares: the options of the command, put together.

Next module: `shadow.replay.client`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shadow.load_users import read_users
from shadow.replay import rhythm
from shadow.replay.access_log import read_access_log
from shadow.replay.compare import Comparison
from shadow.replay.pair_log import read_pair_log
from shadow.replay.progress import Progress, digest_of
from shadow.replay.requests import Recorded, ReplayError, read_requests
from shadow.router.settings import RouterSettings


@dataclass(frozen=True)
class Options:
    """What the command line says, by the names of its options."""

    requests: Path | None
    access_log: Path | None
    prefix: str
    pairs: str | None
    experiment: str | None
    users: Path | None
    compare: str | None
    target: str
    rhythm: str
    seconds: float | None
    speed: float
    rps: float
    peak: float
    max_rps: float
    events: bool
    connections: int
    limit: int | None
    state: Path | None
    json_out: Path | None


@dataclass(frozen=True)
class Plan:
    """What is sent when, how far an earlier run got, and what the answers are compared with."""

    requests: Sequence[Recorded]
    due: Sequence[float]
    counts: Mapping[str, Any] | None
    progress: Progress | None
    comparison: Comparison | None


def plan_of(given: Options) -> Plan:
    """From options to a plan; `ReplayError` says what does not fit."""
    requests, comparison = _source(given)
    asked = [each for each in requests if given.events or not each.is_event]
    if left := len(requests) - len(asked):
        click.echo(f"{left:,} events are not sent (--events sends them)", err=True)
    asked = asked[: given.limit]
    due = _due(given, [each.event_time_us for each in asked])
    if given.state is None:
        return Plan(asked, due, None, None, comparison)
    progress = Progress(given.state, digest_of(asked, due, comparison.side if comparison else ""), comparison)
    counts = progress.counts()
    done = min(counts["requests"], len(asked)) if counts else 0
    if done:
        click.echo(f"{given.state}: {done:,} of {len(asked):,} were sent before; going on from there", err=True)
    return Plan(asked[done:], [at - due[done] for at in due[done:]], counts, progress, comparison)


def _source(given: Options) -> tuple[Sequence[Recorded], Comparison | None]:
    """The requests of the one source that was named, and what their answers are compared with."""
    if [given.requests, given.access_log, given.pairs].count(None) != 2:
        raise ReplayError("name one source: --requests, --access-log or --pairs")
    if given.compare and given.pairs is None:
        raise ReplayError("--compare needs --pairs: only a pair log has answers")
    if given.requests:
        return read_requests(given.requests), None
    if given.access_log:
        requests, left_out = read_access_log(given.access_log, given.prefix)
        _tell_left_out(left_out)
        return requests, None
    return _logged(given)


def _logged(given: Options) -> tuple[Sequence[Recorded], Comparison | None]:
    if given.users is None or given.pairs is None:
        raise ReplayError("--pairs needs --users: a pair log holds no user ids, only their keyed hashes")
    try:
        key = RouterSettings.load().unit_key
    except ValueError as error:
        raise ReplayError(f"{error}. It must be the key of that log's router") from error
    logged = read_pair_log(given.pairs, given.experiment, read_users(given.users), key, given.compare)
    _tell_left_out(logged.left_out)
    if given.compare is None:
        return logged.requests, None
    if not logged.answers.count:
        raise ReplayError(f"--compare {given.compare}: the log has no answer of it; primary and its arms are there")
    return logged.requests, Comparison(logged.answers, given.compare)


def _tell_left_out(left_out: Mapping[str, int]) -> None:
    for reason, number in left_out.items():
        click.echo(f"{number:,} left out: {reason}", err=True)


def _due(given: Options, event_times_us: Sequence[int]) -> list[float]:
    """When each is due, by the rhythm."""
    if not event_times_us:
        raise ReplayError("only events there; --events sends them")
    if given.rhythm == "constant":
        return rhythm.constant(len(event_times_us), given.rps)
    if given.rhythm == "daily":
        return rhythm.daily(len(event_times_us), given.rps, given.peak, rhythm.DAY_SECONDS / given.speed)
    speed = rhythm.speed_for(event_times_us, given.seconds) if given.seconds else given.speed
    return rhythm.bounded(rhythm.as_it_was(event_times_us, speed), given.max_rps)
