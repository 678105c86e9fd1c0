"""Reading requests: query, headers and body, each bounded, each failure a problem that names what is wrong.

msgspec does the reading: FastAPI's own costs more than the answer (docs/decisions/0005). Next module: `bentos.api`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from bentos.messages import K_DEFAULT, K_MOST, RecommendQuery, UserQuery
from bentos.problems import ProblemError, invalid, malformed, too_large, wrong_media_type

BODY_MOST: Final = 1 << 20
"""Bytes of a body: a full batch of the longest ids, escaped, needs less."""
PARAMETERS_MOST: Final = 32
REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""What a request id may look like; another one is replaced, for it goes into a header and into logs."""
IDENTITY: Final = "understudy.request_id"
"""Where `bentos.front` leaves the request's id in the ASGI scope; "request_id" is BentoML's."""
_PLACE: Final = re.compile(r" - at `\$\.?(.*)`$")
_FORM: Final = re.compile(r"`str` matching regex '.*'", re.DOTALL)
"""How msgspec tells of `bentos.messages.PLAIN`, the only form there is."""
_FIELD: Final = re.compile(r"(?:missing required|unknown) field `([^`]*)`")

T = TypeVar("T")
RawHeaders = Iterable[tuple[bytes, bytes]]


def header(headers: RawHeaders, name: bytes) -> bytes:
    """The first value of the header `name` (in lower case); b"" when it is not there."""
    return next((value for each, value in headers if each == name), b"")


def request_id(headers: RawHeaders) -> str:
    """The id that the client gave, or a new one when there is none of a form that can be passed on."""
    given = header(headers, b"x-request-id")
    return given.decode() if REQUEST_ID_FORM.fullmatch(given) else uuid.uuid4().hex


def recommend_query(query_string: bytes) -> RecommendQuery:
    """`user_id` and `k` of a query string; others are ignored."""
    values = parameters(query_string, ("user_id", "k"))
    k = values.get("k", str(K_DEFAULT))
    # int() also takes 1_0, +5 and the digits of other scripts, msgspec 1e1.
    if not (k.isascii() and k.isdecimal()) or len(k) > 3:
        raise invalid("k", f"k must be a whole number from 1 to {K_MOST}, in digits")
    return converted(values | {"k": int(k)}, RecommendQuery)


def user_query(query_string: bytes) -> UserQuery:
    """`user_id` of a query string; others are ignored."""
    return converted(parameters(query_string, ("user_id",)), UserQuery)


def parameters(query_string: bytes, names: tuple[str, ...]) -> dict[str, str]:
    """The values of the parameters `names` that are given; each may be given once, and is UTF-8."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), True, encoding="latin-1", max_num_fields=PARAMETERS_MOST)
    except UnicodeDecodeError as error:
        raise invalid("query", "the query holds bytes that are not percent-encoded") from error
    except ValueError as error:
        raise invalid("query", f"more than {PARAMETERS_MOST} parameters") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in names:
            continue
        if name in found:
            raise invalid(name, f"{name} must be given once")
        try:
            found[name] = value.encode("latin-1").decode()
        except UnicodeDecodeError as error:
            raise invalid(name, f"{name} is not UTF-8") from error
    return found


def converted(values: Any, kind: type[T]) -> T:
    """`values` as a `kind`; 422 names the field."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


async def body(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    """The JSON body: 415 of another type, 413 too long, 400 no JSON or no UTF-8, 422 with the field's place."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise wrong_media_type(media_type)
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > BODY_MOST:
                raise too_large(BODY_MOST)
    except ClientDisconnect as error:
        raise malformed("the body ended early") from error
    try:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError:
            return converted(_with_whole_numbers(msgspec.json.decode(data)), decoder.type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"the body is no JSON in UTF-8: {error}") from error


def _with_whole_numbers(value: Any) -> Any:
    """`value` with 7.0 as 7: JSON has one kind of number, and some clients write whole ones so."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_whole_numbers(each) for each in value]
    if isinstance(value, dict):
        return {name: _with_whole_numbers(each) for name, each in value.items()}
    return value


def _invalid(error: msgspec.ValidationError) -> ProblemError:
    text = str(error)
    found = (_PLACE.search(text), _FIELD.search(text))
    parameter = ".".join(each[1] for each in found if each is not None and each[1]) or "body"
    return invalid(
        parameter, f"{parameter}: {_FORM.sub('text without control characters', text.partition(' - at ')[0])}"
    )
