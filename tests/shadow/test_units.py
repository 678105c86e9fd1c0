"""Units: keyed, in a bucket each, and the key known by an id of its own."""

from __future__ import annotations

import re
from hashlib import blake2b

from shadow.units import KEY_ID_OF, bucket_of, key_id_of, unit_of
from tests.shadow.router.harness import KEY


def test_a_unit_is_keyed_blake2b_of_the_id_and_another_key_gives_another_unit() -> None:
    assert unit_of(b"17", KEY) == blake2b(b"17", key=KEY, digest_size=16).hexdigest()
    assert unit_of(b"17", KEY) != unit_of(b"17", KEY[::-1])


def test_a_bucket_is_the_first_64_bits_of_the_unit_modulo_a_million() -> None:
    assert bucket_of("00000000000f4241" + "f" * 16) == 1  # 0xf4241 is 1000001


def test_a_key_is_known_by_an_id_of_its_own_that_is_no_part_of_a_unit() -> None:
    first, second = b"a key for tests only, 32 bytes..", b"another key for tests, 32 bytes."
    assert key_id_of(first) == key_id_of(bytes(first))
    assert key_id_of(first) != key_id_of(second)
    assert re.fullmatch("[0-9a-f]{8}", key_id_of(first))
    # A user may call himself like the constant: what the log then holds of him begins otherwise.
    assert not unit_of(KEY_ID_OF, first).startswith(key_id_of(first))
