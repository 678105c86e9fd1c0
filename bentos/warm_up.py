"""Before a service is ready: a few hundred requests of every kind, and each answer checked.

They go the whole way from the front to the bytes, with features from memory, so that what is imported, mapped or grown
at first use is there before the first user. Nothing of them is counted. Next module: `bentos.service`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Final

import msgspec
import numpy as np
from starlette.types import ASGIApp, Message

from bentos.bundle import Bundle
from bentos.errors import SmokeError
from bentos.fallback import SOURCES
from bentos.features import Event, Features, FeatureStore, Missing
from bentos.messages import Answer
from bentos.retrieval import search

REQUESTS: Final = 240
"""Requests of the warm-up; each is also checked."""
KINDS: Final = ("known", "known", "history", "lost", "new")
"""Who asks, in turn: a vector; events alone; a store that fails; nobody."""
CHECKED: Final = 20
"""Users whose search is compared with the exact one."""
RECALL_LEAST: Final = 0.9
"""Least mean recall@10 of those: an index is built for .995, and this tells a broken one from a good one."""
K: Final = 10
STARS: Final = 5.0
HISTORY: Final = 5
TOLERANCE: Final = 1e-3


class Cast:
    """A feature store in memory; what it gives depends on the kind that the user's id names."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    async def read(self, user_id: str) -> Features | Missing:
        """See `bentos.features.FeatureStore`."""
        kind, _, number = user_id.partition("-")
        if kind == "lost":
            return Missing("timeout")
        seen = self.seen(user_id)
        if kind == "known" and len(self._bundle.user_vectors):
            return Features(self._bundle.user_vectors[int(number) % len(self._bundle.user_vectors)], frozenset(seen))
        events = tuple(Event(item, STARS, moment) for moment, item in enumerate(seen))
        return Features(None, frozenset(seen), events)

    async def read_many(self, user_ids: Sequence[str]) -> list[Features | Missing]:
        """See `bentos.features.FeatureStore`."""
        return [await self.read(user_id) for user_id in user_ids]

    def seen(self, user_id: str) -> list[str]:
        """What that user has seen."""
        kind, _, number = user_id.partition("-")
        items = self._bundle.item_ids
        if kind not in ("known", "history") or not items:
            return []
        return sorted({items[(int(number) + step) % len(items)] for step in range(HISTORY)})


async def warm_up(bundle: Bundle, open_front: Callable[[FeatureStore], ASGIApp]) -> int:
    """Play the requests to the front that `open_front` makes; how many. `SmokeError` says what came out wrong."""
    check_search(bundle)
    cast = Cast(bundle)
    front = open_front(cast)
    for number, kind in zip(range(REQUESTS), cycle(KINDS), strict=False):
        user_id = f"{kind}-{number}"
        status, body = await _ask(front, f"user_id={user_id}&k={K}".encode())
        if status != 200:
            raise SmokeError(f"a request of the warm-up was answered {status}: {body.decode(errors='replace')[:500]}")
        _check(bundle, body, frozenset(cast.seen(user_id)))
    return REQUESTS


def check_search(bundle: Bundle) -> None:
    """`SmokeError` unless the index finds what an exact search over the item vectors finds, or nearly."""
    users = np.linspace(0, len(bundle.user_vectors) - 1, num=min(CHECKED, len(bundle.user_vectors)), dtype=np.int64)
    if not len(users) or not bundle.item_ids:
        return
    recalls = []
    for user in users:
        query = np.asarray(bundle.user_vectors[user])
        exact = bundle.item_vectors @ query
        rows, scores = search(bundle.index, query, K, ())
        if len(set(rows.tolist())) != min(K, len(exact)):
            found = f"the search gives {len(rows)} rows for user {bundle.user_ids[user]}"
            raise SmokeError(f"{found}, not {min(K, len(exact))} distinct ones")
        if not np.allclose(scores, exact[rows], rtol=TOLERANCE, atol=TOLERANCE):
            raise SmokeError(f"the search's scores for user {bundle.user_ids[user]} are not inner products")
        # Of equal scores any may be found.
        recalls.append(float(np.mean(exact[rows] >= np.sort(exact)[-len(rows)] - TOLERANCE)))
    if (recall := float(np.mean(recalls))) < RECALL_LEAST:
        raise SmokeError(f"the index finds {recall:.0%} of the best {K} items of {len(users)} users, not 90 % or more")


def _check(bundle: Bundle, body: bytes, seen: frozenset[str]) -> None:
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except msgspec.DecodeError as error:
        raise SmokeError(f"an answer of the warm-up cannot be read: {error}") from error
    found = [item.item_id for item in answer.items]
    expected = min(K, len(bundle.item_ids) - len(seen))
    if len(found) != expected or len(set(found)) != expected or seen & set(found):
        raise SmokeError(f"a list of the warm-up has {len(found)} items, not {expected} distinct unseen ones: {found}")
    if answer.source not in SOURCES:
        raise SmokeError(f"a list of the warm-up says its source is {answer.source!r}")


async def _ask(front: ASGIApp, query: bytes) -> tuple[int, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/recommend", "query_string": query, "headers": []}
    await front(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent)
