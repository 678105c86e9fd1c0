"""From a fitted model to what serving needs: the bundle, the facts in Redis' terms, and the requests to replay.

Next module: `bentos.bundle`, which writes and verifies the files.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.lists import head_mask
from bentos.bundle import BundleManifest, write_bundle
from bentos.catalogue import catalogue_table
from bentos.fold_in import FoldInSettings
from bentos.index_record import beside, record
from bentos.seen import SeenSource, from_pairs
from training.experiment import Experiment
from training.interactions import Interactions, Movie
from training.model import Fitted
from training.popularity import FAMILY, RECENT, popularity
from training.synthetic_mark import metadata

TIMED: Final = 500
"""Searches by which each kind of index is timed."""
SESSION_GAP_US: Final = 30 * 60 * 1_000_000
"""A longer pause between two ratings of a user starts a new session."""
RATINGS_PER_REQUEST: Final = 10
"""Within a session a user asks again after so many ratings."""

FACTS: Final = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rating", pa.float32()), ("timestamp_us", pa.int64())]
)
"""The columns of a facts file."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a requests file: when, who, how many items; or, with `item_id`, which item the user rated then."""

    event_time_us: int
    user_id: str
    k: int = 10
    item_id: str = ""
    rating: float = 4.0


def export_bundle(
    directory: Path,
    experiment: Experiment,
    fitted: Fitted,
    before: Interactions,
    movies: Mapping[str, Movie],
    cut_us: int,
    labels: Mapping[str, str],
) -> BundleManifest:
    """Write the bundle of `fitted`, which was fitted on `before`, all of it earlier than `cut_us`: its items, the
    users with enough positives there. What is a positive, for users and for popularity, is the experiment's to say.
    How its index was chosen is told in a directory beside it.
    """
    ids = fitted.item_ids
    row_of = {item: row for row, item in enumerate(before.item_ids)}
    rows = np.array([row_of.get(item, -1) for item in ids])
    liked = before.liked(experiment.ials.positive)
    positives = np.bincount(liked.user, minlength=len(before.user_ids))
    users = np.flatnonzero(positives >= max(1, experiment.export.min_history))
    counts = np.bincount(liked.item, minlength=len(before.item_ids))
    latest = np.zeros(len(before.item_ids), dtype=np.int64)
    np.maximum.at(latest, before.item, before.timestamp_us)
    recent = popularity(before, cut_us, FAMILY[RECENT], experiment.ials.positive).astype(np.int64)
    # An item that nobody rated before the cut has neither popularity nor a last interaction.
    ever, lately, last = (np.where(rows >= 0, column[rows], 0) for column in (counts, recent, latest))
    known = [movies[each] for each in ids]
    catalogue = catalogue_table(
        ids,
        [movie.title for movie in known],
        [list(movie.genres) for movie in known],
        [movie.year for movie in known],
        ever,
        lately,
        last,
        ~head_mask(ever),
    )
    return write_bundle(
        directory,
        name=experiment.name,
        item_ids=ids,
        item_vectors=np.ascontiguousarray(fitted.items),
        user_ids=[before.user_ids[row] for row in users],
        user_vectors=np.ascontiguousarray(fitted.users[users]),
        catalogue=catalogue,
        fold_in=fold_in_settings(experiment),
        labels=labels,
        seen=seen_before(before, rows, users),
        chosen=lambda choice, version: record(choice, version, beside(directory), TIMED, curves=False),
    )


def seen_before(before: Interactions, rows: NDArray[np.int64], users: NDArray[np.int64]) -> SeenSource:
    """What the bundle's users had rated; `rows` are the items of the bundle in `before`, −1 for those not there."""
    item = np.full(len(before.item_ids) + 1, -1)
    item[rows] = np.arange(len(rows))
    item[-1] = -1
    user = np.full(len(before.user_ids), -1)
    user[users] = np.arange(len(users))
    known = (user[before.user] >= 0) & (item[before.item] >= 0)
    return from_pairs(user[before.user[known]], item[before.item[known]], len(users))


def fold_in_settings(experiment: Experiment) -> FoldInSettings:
    """What serving needs of `experiment` to solve one more user."""
    ials = experiment.ials
    return FoldInSettings(
        dimension=ials.dimension,
        factor_share=experiment.content.weight if experiment.content else 1.0,
        unobserved_weight=ials.unobserved_weight,
        regularisation=ials.regularisation,
        regularisation_exponent=ials.regularisation_exponent,
        positive=ials.positive,
        weights=ials.weights,
    )


def write_facts(path: Path, before: Interactions, synthetic: str = "") -> int:
    """Write what users did as Parquet (user_id, item_id, rating, timestamp_us), by user and time; returns the rows.

    `synthetic`, what made-up data says of itself, goes to the metadata of the file.
    """
    order = np.lexsort((before.item, before.timestamp_us, before.user))
    rows = (before.user[order], before.item[order], before.rating[order], before.timestamp_us[order])
    table = facts_table(pa.array(before.user_ids), pa.array(before.item_ids), *rows)
    table = table.replace_schema_metadata(metadata(synthetic))
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return len(before)


def facts_table(
    user_ids: pa.Array,
    item_ids: pa.Array,
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    rating: NDArray[np.float32],
    timestamp_us: NDArray[np.int64],
) -> pa.Table:
    """Facts of interactions in the order of a facts file: `user` and `item` are rows of the ids."""
    columns = (user_ids.take(pa.array(user)), item_ids.take(pa.array(item)), pa.array(rating), pa.array(timestamp_us))
    return pa.Table.from_arrays(list(columns), schema=FACTS)


def requests_of(period: Interactions) -> list[Request]:
    """The requests behind the ratings of `period`: one per session start, one per ten ratings of a session."""
    order = np.lexsort((period.timestamp_us, period.user))
    user, time = period.user[order], period.timestamp_us[order]
    new = np.ones(len(user), dtype=bool)
    new[1:] = (user[1:] != user[:-1]) | (time[1:] - time[:-1] > SESSION_GAP_US)
    session_start = np.maximum.accumulate(np.where(new, np.arange(len(user)), 0))
    asks = (np.arange(len(user)) - session_start) % RATINGS_PER_REQUEST == 0
    rows = np.flatnonzero(asks)
    rows = rows[np.lexsort((user[rows], time[rows]))]
    return [Request(int(time[row]), period.user_ids[user[row]]) for row in rows]


def events_of(period: Interactions) -> list[Request]:
    """The ratings of `period` as lines of a requests file, ascending in time."""
    order = np.lexsort((period.item, period.user, period.timestamp_us))
    return [
        Request(
            int(period.timestamp_us[row]),
            period.user_ids[period.user[row]],
            item_id=period.item_ids[period.item[row]],
            rating=float(period.rating[row]),
        )
        for row in order
    ]


def with_events(requests: list[Request], events: list[Request]) -> list[Request]:
    """Both in the order of time; at the same time the request first: a list is asked for before what it led to."""
    return sorted([*requests, *events], key=lambda each: (each.event_time_us, bool(each.item_id)))


def write_requests(path: Path, requests: list[Request]) -> None:
    """Write one JSON object per line, in the order of time."""
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(msgspec.json.encode(request) + b"\n" for request in requests))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`; `OSError` names `path`, and nothing half-written stays."""
    temporary = path.with_name(path.name + ".new")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # Arrow and numpy tell neither the file nor, some of them, the number of the error.
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"{reason}. Free space or choose another place", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
