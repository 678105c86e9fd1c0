"""Two users of the feature store: one for shadow and control, which may only read, one for all the rest.

Least rights: key patterns and single commands, no category. Redis limits the connections of the server (`maxclients`),
not of a user: the cap is every process's own bound (docs/features.md). Next module: `bentos.redis_server`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

_READ: Final = ("get", "hget", "ping", "auth", "select")
_WRITE: Final = (
    *("hgetall", "hlen", "hmget", "scard", "smembers", "ttl", "pttl", "time", "zscore", "memory|usage"),
    *("set", "del", "unlink", "expire", "persist", "hset", "hsetnx", "hdel", "sadd", "srem"),
    *("zadd", "zremrangebyscore", "zremrangebyrank", "eval", "multi", "exec", "watch", "unwatch", "discard"),
)
_SHOWN: Final = ("vec:*", "seen:*", "events:*", "features:*")
_KEPT: Final = (*_SHOWN, "event_ids:*", "facts:*", "loading:*", "pins:*", "versions")


@dataclass(frozen=True)
class AclUser:
    """A user of Redis: rights as in `ACL SETUSER`."""

    name: str
    rights: tuple[str, ...]

    def line(self, password: str) -> str:
        """The user's line of an ACL file. It holds the digest of the password, not the password."""
        return f"user {self.name} {' '.join(self.rules(password))}"

    def rules(self, password: str) -> tuple[str, ...]:
        """The arguments of ACL SETUSER; nothing that the user had before stays."""
        return ("reset", "on", f"#{hashlib.sha256(password.encode()).hexdigest()}", *self.rights)


READER: Final = AclUser(
    "understudy-reader", (*(f"%R~{keys}" for keys in _SHOWN), "-@all", *(f"+{name}" for name in _READ))
)
"""For shadow and control."""
WRITER: Final = AclUser(
    "understudy-writer", (*(f"~{keys}" for keys in _KEPT), "-@all", *(f"+{name}" for name in (*_READ, *_WRITE)))
)
"""For the primary, which takes events and erases users, and for `understudy features`."""
USERS: Final = (READER, WRITER)


def set_user(client: Any, user: AclUser, password: str) -> None:
    """Create the user, or replace its rights and password."""
    client.execute_command("ACL SETUSER", user.name, *user.rules(password))
