"""What goes over HTTP (DESIGN §4), as types: the order of the fields is the order of the bytes.

Reading, writing and the OpenAPI document all come from these types, so the document cannot say something else than the
code does. Next module: `bentos.problems`, the answers to what cannot be answered.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from bentos.ranking_settings import RankingSettings

K_DEFAULT: Final = 10
K_MOST: Final = 100
ID_LONGEST: Final = 256
"""Characters of a user's or an item's id."""
BATCH_MOST: Final = 256
"""Requests in a batch, events in an array."""
LATEST_US: Final = 2**53 - 1
"""In the year 2255, and the last that the feature store can hold: a later one was meant in another unit."""

RATING_LEFT_OUT: Final = 4.0
PLAIN: Final = r"^[^\x00-\x1f\x7f]*(?![\s\S])"
"""No control characters, to the very end: what is stored may be joined by them."""

UserId = Annotated[
    str,
    Meta(min_length=1, max_length=ID_LONGEST, pattern=PLAIN, description="Any user, known or not.", examples=["42"]),
]
ItemId = Annotated[str, Meta(min_length=1, max_length=ID_LONGEST, pattern=PLAIN, examples=["1210"])]
EventId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=ID_LONGEST,
        pattern=PLAIN,
        description="The sender's id of this event: sent again, it changes nothing.",
        examples=["2000-12-02/42/1210"],
    ),
]

Source = Annotated[
    str,
    Meta(
        description="The rung of the ladder that gave the list, from the most to the least personal.",
        extra_json_schema={"enum": ["hybrid", "fold_in", "content", "popular_recent", "popular"]},
    ),
]


class RecommendQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks, and for how many items."""

    user_id: UserId
    k: Annotated[int, Meta(ge=1, le=K_MOST, description="How many items.", examples=[10])] = K_DEFAULT


class UserQuery(msgspec.Struct, frozen=True):
    """Whose facts and vectors go."""

    user_id: UserId


class Item(msgspec.Struct, frozen=True):
    """One recommended item. Scores of different sources do not compare."""

    item_id: str
    title: str
    score: float


class Model(msgspec.Struct, frozen=True):
    """Which model answered: the version is the digest of its bundle, the bento is `name:version`."""

    name: str
    version: str
    bento: str


class Answer(msgspec.Struct, frozen=True):
    """The best unseen items, best first: k of them unless fewer are unseen; `source` is the rung of the ladder."""

    request_id: str
    items: list[Item]
    model: msgspec.Raw | Model
    source: Source
    retrieved: Annotated[list[str], Meta(description="The candidates before ranking, where the service logs them.")] | (
        msgspec.UnsetType
    ) = msgspec.UNSET


class BatchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many requests at once."""

    requests: Annotated[list[RecommendQuery], Meta(min_length=1, max_length=BATCH_MOST)]


class BatchItem(msgspec.Struct, frozen=True):
    """The answer to one request of a batch: the items and the source that a single request would get."""

    items: list[Item]
    source: Source


class BatchAnswer(msgspec.Struct, frozen=True):
    """Answers in the order of the requests."""

    request_id: str
    answers: list[BatchItem]
    model: msgspec.Raw | Model


class EventMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user rated an item."""

    event_id: EventId
    user_id: UserId
    item_id: ItemId
    timestamp_us: Annotated[
        int,
        Meta(ge=0, le=LATEST_US, description="When, in microseconds since 1970 (UTC).", examples=[975_768_738_000_000]),
    ]
    rating: Annotated[
        float, Meta(ge=0.5, le=5, description="Stars; left out: 4, the least that says liked.", examples=[4.5])
    ] = RATING_LEFT_OUT


class EventsAnswer(msgspec.Struct, frozen=True):
    """How many events are kept now that were not before, and how many had been kept already."""

    accepted: int
    duplicates: int


class Erased(msgspec.Struct, frozen=True):
    """How many keys of the user were removed from the feature store; 0: there was nothing."""

    erased: int


class IndexInfo(msgspec.Struct, frozen=True):
    """How items are searched; the recall is the one measured when the index was built, null when it was not."""

    kind: str
    recall_at_10: float | None = None


class RegistryInfo(msgspec.Struct, frozen=True):
    """The registry's champion against this bento.

    `state`: current (it is this one), other, none (no champion), unknown (no answer in time), off (no registry).
    """

    state: str
    champion: str | None


class FeaturesInfo(msgspec.Struct, frozen=True):
    """The vectors of this version in the feature store, as this process read them some seconds ago.

    `state`: loaded (all of `users`), missing (not, or not wholly: users fall back), unknown (the store is not read).
    """

    state: Literal["loaded", "missing", "unknown"]
    users: int


class ModelInfo(msgspec.Struct, frozen=True):
    """The model that answers here."""

    name: str
    version: str
    bento: str
    items: int
    dimension: int
    last_interaction_us: Annotated[int, Meta(description="The newest interaction it learnt from, in µs since 1970.")]
    index: IndexInfo
    ranking: RankingSettings
    labels: dict[str, str]
    registry: RegistryInfo
    features: FeaturesInfo = FeaturesInfo("unknown", 0)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details; `parameter` names what is wrong in the request."""

    title: str
    status: int
    detail: str
    parameter: str = ""
    type: str = "about:blank"
