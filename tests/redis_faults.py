"""What can happen to a real Redis besides its end: it lasts as long as a `with` block and is put right then."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from bentos.feature_loading import connected
from bentos.features import bucket_of, buckets_of, encoded, vectors_key


@contextmanager
def slow(url: str) -> Iterator[None]:
    """It answers, but again and again only after 40 ms."""
    ended = threading.Event()

    def hold_up() -> None:
        with redis.Redis.from_url(url) as client:
            while not ended.wait(0.002):
                client.client_pause(40, all=True)

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)


@contextmanager
def full(url: str) -> Iterator[None]:
    """No memory is left for a write."""
    with connected(url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", before)


@contextmanager
def another_password(url: str, account: str, right: str) -> Iterator[None]:
    """`account` has another password, and nobody is logged in with the `right` one ("nopass", or ">" and the password)
    any more.
    """
    with connected(url) as client:
        # The connection that this goes through stays.
        client.execute_command("ACL SETUSER", account, "resetpass", ">another")
        client.execute_command("CLIENT KILL", "USER", account, "SKIPME", "yes")
        try:
            yield
        finally:
            client.execute_command("ACL SETUSER", account, "resetpass", right)


@contextmanager
def corrupt_vectors(url: str, version: str, users: int, of: Sequence[str]) -> Iterator[None]:
    """The vectors of some of the `users` of `version` are none."""
    keys = {user: vectors_key(version, bucket_of(encoded(user), buckets_of(users))) for user in of}
    with connected(url) as client:
        whole = {user: client.hget(key, user) for user, key in keys.items()}
        for user, key in keys.items():
            client.hset(key, user, b"no vector")
        try:
            yield
        finally:
            for user, key in keys.items():
                client.hset(key, user, whole[user])
