"""A user as the pair log knows it: the unit, a keyed hash of the id; its bucket; and which key it was.

The router makes them, the reader of a log makes them again from ids (docs/pair-log.md). Next module:
`shadow.router.sampling`, who is shown to an arm.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

BUCKETS: Final = 1_000_000
LONGEST_KEY: Final = 64
"""BLAKE2b's limit; a longer secret is hashed to this length."""
KEY_ID_OF: Final = b"understudy unit key"
"""What is hashed with a key to know it again."""


def key_of(secret: bytes) -> bytes:
    """The key that a secret of any length is, at most `LONGEST_KEY` bytes."""
    return secret if len(secret) <= LONGEST_KEY else blake2b(secret).digest()


def unit_of(user_id: bytes, key: bytes) -> str:
    """The unit of a user: keyed BLAKE2b (RFC 7693), 16 bytes as hex. Without the key it tells nothing about the id.

    `key` is one of `key_of`.
    """
    return blake2b(user_id, key=key, digest_size=16).hexdigest()


def key_id_of(key: bytes) -> str:
    """Eight hexadecimal digits that tell one unit key from another: keyed BLAKE2b of a constant, 4 bytes.

    They do not help to guess a key. Of 16 random bytes 2^96 keys have the same id, and whether a guess is right is
    answered better by the units themselves, for users whose ids are known. The length is part of the hash, so no
    user's unit begins like it.
    """
    return blake2b(KEY_ID_OF, key=key, digest_size=4).hexdigest()


def bucket_of(unit: str) -> int:
    """The bucket of a unit in [0, 1000000)."""
    return int(unit[:16], 16) % BUCKETS
