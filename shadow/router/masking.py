"""Where a user's id would stand in a record, the unit stands: in the target, the request id and the answers' bodies.

An id of `TELLING_BYTES` and more is found anywhere and in any spelling (raw, percent-encoded, escaped in JSON, one in
the other); a shorter one (17) is contained in nearly everything, so it is masked only where it is a whole value of the
query, or follows a name that speaks of a user. Next module: `shadow.router.records`.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus, unquote_to_bytes

from shadow.router.sampling import decoded

TELLING_BYTES: Final = 6
"""From this length on an id is masked inside of longer values too."""
MOST_DECODINGS: Final = 4
"""What is encoded more often than that is masked unseen."""
SPELLING: Final = 6
"""Most bytes that one byte of an id takes in a spelling (\\u0031)."""
_ESCAPED: Final = re.compile(rb"\\u00[2-7]")
_PERCENT: Final = re.compile(rb"%[2-7]")
"""What spells an ASCII character differently; é in a title is not among it."""
_PLAIN: Final = re.compile(rb"[!#-.0-\[\]-~]+")
"""An id that JSON writes as it is: ASCII without quote, solidus and backslash."""
_ESCAPE: Final = re.compile(rb"\\(u[dD][89abAB]..\\u[dD][c-fC-F]..|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SHORT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_NUMBERS: Final = re.compile(rb"(?<![0-9])(?<![0-9]\.)[0-9]+(?:\.0+)?(?![0-9]|\.[0-9]*[1-9])")
"""Whole numbers, as floats too (17.0); not what is behind a decimal point, which has a digit before it."""


class Mask:
    """What is to be replaced in the records of one request, and by which unit."""

    __slots__ = ("_is_hidden", "_is_plain", "_parameter", "_spelt", "_telling", "_unit", "_users", "target")

    def __init__(self, target: bytes, parameter: bytes, unit: str, has_body: bool = False) -> None:
        # Who does not name the user in the target may do so in the body, where it is not looked for.
        self._is_hidden = has_body and not unit
        self._parameter = parameter
        self._unit = unit.encode()
        before, mark, query = target.partition(b"?")
        parts = [part.partition(b"=") for part in query.split(b"&")] if mark else []
        # Nearly every query is plain, and then nothing need be decoded.
        self._is_plain = b"%" not in query and b"+" not in query and b";" not in query
        users = self._users = [value for name, _, value in parts if value and self._names(name)]
        self._spelt: list[bytes] = []
        if not self._is_plain:
            self._spelt, self._users = users, [decoded(value) for value in users]
        self._telling = [user for user in self._users if len(user) >= TELLING_BYTES]
        shown = [(self._plainly if self._is_plain else self._shown)(*part) for part in parts]
        self.target = (before + mark + b"&".join(shown)).decode("latin-1")
        """With the unit in the place of every value under the parameter, however that is written, and of every name
        or value that is an id or gives it away."""

    def _names(self, name: bytes) -> bool:
        """Whether a name of the query is the parameter, upper or lower case: others may read it so."""
        if name == self._parameter:
            return True
        name = name if self._is_plain else decoded(name)
        return len(name) == len(self._parameter) and name.lower() == self._parameter.lower()

    def _shown(self, name: bytes, equals: bytes, value: bytes) -> bytes:
        """A part of the query for the record."""
        if value and (name == self._parameter or self._names(name) or self._tells(value)):
            value = self._unit
        return (self._unit if self._tells(name) else name) + equals + value

    def _plainly(self, name: bytes, equals: bytes, value: bytes) -> bytes:
        """`_shown` where nothing need be decoded; nearly every request comes here."""
        users = self._users
        if value in users:
            value = self._unit
        if name in users:
            name = self._unit
        for user in self._telling:
            if user in value:
                value = self._unit
            if user in name:
                name = self._unit
        return name + equals + value

    def _tells(self, text: bytes) -> bool:
        """Whether `text`, decoded as often as it can be, is an id or gives it away."""
        for _ in range(MOST_DECODINGS):
            if text in self._users:
                return True
            for user in self._telling:
                if user in text:
                    return True
            if b";" in text and self._parameter in text.lower():
                return True  # some servers take a semicolon for an ampersand
            before, text = text, decoded(text)
            if text == before:
                return False
        return True

    def request_id(self, raw: bytes) -> str:
        """A request id, which a client may have made of the user's."""
        if raw in self._users:
            return self._unit.decode()
        for user in self._telling:
            raw = raw.replace(user, self._unit)
        return raw.decode()

    def body(self, raw: bytes, truncated: bool) -> bytes | None:
        """A body with the unit in the place of the id; None when that cannot be done and it must not be kept.

        The end of a truncated body may hold the beginning of an id, in any spelling: so much is cut off.
        """
        if self._is_hidden:
            return None
        if truncated and self._users:
            raw = raw[: max(0, len(raw) - SPELLING * max(map(len, self._users)))]
        for user in self._users:
            # One with a backslash could be found in the middle of its own spelling in JSON: that goes first, below.
            if user in raw and not (b"\\" in user and len(user) >= TELLING_BYTES):
                raw = self._without(raw, user)
        for value in self._spelt:
            if value not in self._users and len(value) >= TELLING_BYTES:
                raw = raw.replace(value, self._unit)
        for user in self._telling:
            if self._may_spell(user, raw):
                return self._without_spellings(raw)
        return raw

    def _may_spell(self, user: bytes, raw: bytes) -> bool:
        """Whether a body holds anything that could be another spelling of an id."""
        if b"%" in raw and (not user.isascii() or _PERCENT.search(raw) is not None):
            return True
        return b"\\" in raw and (not _PLAIN.fullmatch(user) or _ESCAPED.search(raw) is not None)

    def _without(self, raw: bytes, user: bytes) -> bytes:
        if len(user) < TELLING_BYTES:
            for name in _speaking(self._parameter):
                if name in raw:
                    return _echoes(self._parameter).sub(self._echo, raw)
            return raw
        if user.isdigit():
            return _NUMBERS.sub(lambda found: self._number(found, user), raw)
        return raw.replace(user, self._unit)

    def _echo(self, found: re.Match[bytes]) -> bytes:
        """The value behind a name that speaks of a user."""
        name, value = found[1], found[2]
        if _integer(value) not in self._users and value not in self._users:
            return found[0]
        return name + self._quoted(found, 2)

    def _number(self, found: re.Match[bytes], user: bytes) -> bytes:
        """A number that is not part of a longer one."""
        return self._quoted(found, 0) if _integer(found[0]) == user else found[0]

    def _quoted(self, found: re.Match[bytes], group: int) -> bytes:
        """The unit; as a JSON string where a JSON number stood, so that JSON stays JSON."""
        text, (start, end) = found.string, found.span(group)
        before, after = text[:start].rstrip()[-1:] if start else b"", text[end : end + 1]
        bare = before in (b":", b",", b"[") and after in (b",", b"]", b"}", b" ", b"\n", b"\r", b"")
        return b'"' + self._unit + b'"' if bare and _integer(found[group]).removeprefix(b"-").isdigit() else self._unit

    def _without_spellings(self, raw: bytes) -> bytes | None:
        """Other spellings of telling ids; a body that still gives one away, once it is decoded, must not be kept."""
        lowered = raw.lower()
        spellings = [each for user in self._telling for each in _spellings(user) if each in lowered]
        spellings += [user for user in self._telling if b"\\" in user]
        if spellings:
            pattern = b"|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))
            raw = re.sub(pattern, self._unit, raw, flags=re.IGNORECASE)
        return None if self._gives_away(raw) else raw

    def _gives_away(self, text: bytes) -> bool:
        for _ in range(MOST_DECODINGS):
            before = text
            for decode in (unquote_to_bytes, _unescaped):
                text = decode(text)
                if any(user in text for user in self._telling):
                    return True
            if text == before:
                return False
        return True


def _integer(number: bytes) -> bytes:
    """Without the fraction that is none."""
    whole, point, fraction = number.partition(b".")
    return whole if point and fraction and not fraction.strip(b"0") else number


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(_character, text) if b"\\" in text else text


def _character(found: re.Match[bytes]) -> bytes:
    escape: bytes = found[1]
    if len(escape) > 1:
        units = escape[1:].replace(b"\\u", b"")
        try:
            return bytes.fromhex(units.decode()).decode("utf-16-be", "replace").encode()
        except ValueError:
            return b""
    return _SHORT.get(escape, escape)


@lru_cache(maxsize=16)
def _speaking(parameter: bytes) -> tuple[bytes, ...]:
    """What a body must hold that speaks of a user."""
    return (b"user", b"User") if b"user" in parameter else (b"user", b"User", parameter)


@lru_cache(maxsize=16)
def _echoes(parameter: bytes) -> re.Pattern[bytes]:
    """A name that speaks of a user, what may stand between it and its value, and the value."""
    between = rb"""(?:["'\s:=]|\\+["']|%(?:25)*(?:22|27|20|3a|3d)|&quot;|&\#3[49];){1,12}"""
    name = rb"(?:" + re.escape(parameter) + rb"|user(?:[_-]?id)?)"
    return re.compile(rb"(?i)((?<![a-z])" + name + between + rb")([^\s\"'\\&,;:=<>\[\]{}()%]+)")


@lru_cache(maxsize=4096)
def _spellings(user: bytes) -> tuple[bytes, ...]:
    """How services write an id in URLs and in JSON, in lower case and other than as it is."""
    found = {quote(user, safe=""), quote_plus(user), quote(user), quote(quote(user, safe=""), safe="")}
    text = user.decode("utf-8", "replace")
    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        found |= {escaped, escaped.replace("/", "\\/"), json.dumps(escaped)[1:-1]}
    return tuple(each for each in {spelt.encode().lower() for spelt in found} if each != user.lower())
