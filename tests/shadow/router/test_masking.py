"""A user's id in a record: the unit stands in its place, in any spelling, and JSON stays JSON."""

from __future__ import annotations

import base64
import gzip
import json
import re
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadow.router.masking import MOST_DECODINGS, SPELLING, TELLING_BYTES, Mask
from shadow.router.records import Body, answer_of
from shadow.router.ways import Exchanged

UNIT = "0" * 32
PARAMETER = b"user_id"


def mask_of(user: str) -> Mask:
    return Mask(b"/r?user_id=" + quote(user, safe="").encode(), PARAMETER, UNIT)


def shown(query: str) -> str:
    return Mask(f"/recommend?{query}".encode(), PARAMETER, UNIT).target


@pytest.mark.parametrize(
    ("query", "masked"),
    [
        ("user_id=17&k=3", f"user_id={UNIT}&k=3"),
        ("user_id=%31%37&k=3", f"user_id={UNIT}&k=3"),
        ("user_id=other&user_id=17", f"user_id={UNIT}&user_id={UNIT}"),
        ("user_id=17&as=17&17=x&17", f"user_id={UNIT}&as={UNIT}&{UNIT}=x&{UNIT}"),
        ("user_id=17&k=170", f"user_id={UNIT}&k=170"),
        ("user_id=17&x=%2531%2537", f"user_id={UNIT}&x={UNIT}"),
        ("user_id=&k=3&", "user_id=&k=3&"),
        ("USER_ID=17&k=17&user%5Fid=18", f"USER_ID={UNIT}&k={UNIT}&user%5Fid={UNIT}"),
        ("x=1;user_id=17&k=3", f"x={UNIT}&k=3"),
        ("user_id=first-of-two&user_id=2&x=first-of-two", f"user_id={UNIT}&user_id={UNIT}&x={UNIT}"),
    ],
)
def test_the_unit_stands_where_the_id_stood(query: str, masked: str) -> None:
    assert shown(query) == f"/recommend?{masked}"


def test_a_target_without_a_query_is_as_it_was() -> None:
    assert Mask(b"/recommend", PARAMETER, UNIT).target == "/recommend"
    assert Mask(b"/recommend?", PARAMETER, UNIT).target == "/recommend?"


@given(st.text("abcdefghij@.é /+%", min_size=6, max_size=24).filter(lambda text: text.strip("%") == text))
def test_a_telling_id_is_nowhere_in_the_target_though_wrapped_and_encoded(user: str) -> None:
    once = quote(user, safe="")
    target = shown(f"user_id={once}&x=pre-{once}-post&y={quote(once, safe='')}&{once}=1")
    assert user not in target
    assert once not in target
    assert quote(once, safe="") not in target


TELLING = (
    "alice-7",
    "anna.å@example.org",
    'quote"back\\slash/é',
    "90210341",
    "a b+c%d;e&f=g",
    "日本語の利用者",
    "𝒳-user",
)


def spellings(user: str) -> list[bytes]:
    """How services say an id again."""
    escaped, raw = json.dumps(user)[1:-1], json.dumps(user, ensure_ascii=False)[1:-1]
    once = quote(user, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), once)
    every = "".join(f"%{byte:02x}" for byte in user.encode())
    texts = [
        user,
        escaped,
        raw,
        escaped.replace("/", "\\/"),
        once,
        lower,
        quote(user),
        quote_plus(user),
        quote(once, safe=""),
        every,
        every.upper(),
        quote(every),
        json.dumps(escaped)[1:-1],
        json.dumps(raw)[1:-1],
        quote(escaped),
    ]
    utf16 = user.encode("utf-16-be")
    units = [utf16[i : i + 2].hex() for i in range(0, len(utf16), 2)]
    texts += ["".join(f"\\u{unit}" for unit in units), "".join(f"\\u{unit.upper()}" for unit in units)]
    return [text.encode() for text in texts]


def decodings(text: bytes) -> list[bytes]:
    """What a reader can make of it, decoding again and again; by the standard library alone."""
    found = [text]
    for _ in range(MOST_DECODINGS):
        text = unquote_to_bytes(text)
        found.append(text)
        try:
            text = json.loads(b'"' + text + b'"', strict=False).encode("utf-8", "surrogatepass")
        except ValueError:
            continue
        found.append(text)
    return found


@pytest.mark.parametrize("user", TELLING)
@pytest.mark.parametrize("around", [b"%b", b"id=%b;", b"/recommend?user_id=%b&k=10"])
def test_no_spelling_of_a_telling_id_stays_in_a_body(user: str, around: bytes) -> None:
    mask = mask_of(user)
    for spelling in spellings(user):
        if user.isdigit() and spelling == user.encode() and around == b"%b":
            continue
        kept = mask.body(around % spelling, truncated=False)
        assert kept is None or all(user.encode() not in each for each in decodings(kept)), spelling


@pytest.mark.parametrize("user", TELLING)
def test_the_usual_spellings_are_replaced_and_the_rest_of_the_body_stays(user: str) -> None:
    mask = mask_of(user)
    document = {"items": [{"title": "Amélie 100%"}], "self": f"/r?user_id={quote(user, safe='')}", "user_id": user}
    for whole in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        kept = mask.body(whole.encode(), truncated=False)
        assert kept is not None
        assert json.loads(kept) == document | {"self": f"/r?user_id={UNIT}", "user_id": UNIT}


def test_a_number_is_masked_as_a_number_and_no_other_number_is_touched() -> None:
    body = b'{"user_id":90210341,"s":0.90210341,"n":190210341,"m":[90210341,9.0210341],"d":90210341.5,"t":"x90210341y"}'
    kept = mask_of("90210341").body(body, truncated=False)
    assert kept is not None
    assert json.loads(kept) == {
        "user_id": UNIT, "s": 0.90210341, "n": 190210341, "m": [UNIT, 9.0210341], "d": 90210341.5, "t": f"x{UNIT}y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        (b'{"user_id":90210341.0,"of":[90210341.00]}', b'{"user_id":"%b","of":["%b"]}'),
        (b'{"user.90210341":"/faces/u.90210341.png"}', b'{"user.%b":"/faces/u.%b.png"}'),
        (b'"90210341.0.1"', b'"%b.0.1"'),
    ],
)
def test_a_number_is_masked_as_a_float_too_and_behind_a_full_stop_that_is_no_decimal_point(
    body: bytes, masked: bytes
) -> None:
    """A table with a gap in its column of ids makes floats of them, and a service says them so."""
    assert mask_of("90210341").body(body, truncated=False) == masked.replace(b"%b", UNIT.encode())


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ('{"user_id":17.0,"user_id":17.5,"n":17.0}', f'{{"user_id":"{UNIT}","user_id":17.5,"n":17.0}}'),
        ('{"user_id":"17","item_id":"17","n":17}', f'{{"user_id":"{UNIT}","item_id":"17","n":17}}'),
        ('{"user_id": 17, "n": 170}', f'{{"user_id": "{UNIT}", "n": 170}}'),
        ('{"userId":17,"user":{"id":17}}', f'{{"userId":"{UNIT}","user":{{"id":17}}}}'),
        ("no user 17 here: /recommend?user_id=17&k=17", f"no user {UNIT} here: /recommend?user_id={UNIT}&k=17"),
        ("user_id%3D17%26k user_id%253d17", f"user_id%3D{UNIT}%26k user_id%253d{UNIT}"),
        (r'{"detail":"{\"user_id\":\"17\"}"}', rf'{{"detail":"{{\"user_id\":\"{UNIT}\"}}"}}'),
        ('{"user_id":"170"}', '{"user_id":"170"}'),
    ],
)  # fmt: skip
def test_a_short_id_is_masked_behind_a_name_that_speaks_of_a_user_and_nowhere_else(body: str, masked: str) -> None:
    assert mask_of("17").body(body.encode(), truncated=False) == masked.encode()


def test_json_stays_json_where_a_short_id_is_a_negative_number() -> None:
    assert mask_of("-1").body(b'{"user_id":-1,"n":-1}', truncated=False) == f'{{"user_id":"{UNIT}","n":-1}}'.encode()


def test_every_id_of_the_query_is_masked_not_only_the_one_that_counts() -> None:
    mask = Mask(b"/r?user_id=first-user&user_id=second-user", PARAMETER, UNIT)
    assert mask.body(b"not both first-user and second-user", truncated=False) == f"not both {UNIT} and {UNIT}".encode()


def test_the_beginning_of_an_id_at_the_end_of_a_truncated_body_is_cut_off() -> None:
    user = "alice@example.org"
    for spelling in spellings(user):
        for length in range(1, len(spelling)):
            body = b"x" * 300 + spelling[:length]
            kept = mask_of(user).body(body, truncated=True)
            assert kept is None or set(kept) == {ord("x")}
    assert len(mask_of(user).body(b"x" * 300, truncated=True) or b"") == 300 - SPELLING * len(user)


def test_what_hides_behind_too_many_encodings_is_not_kept() -> None:
    hidden = "alice@example.org"
    for _ in range(MOST_DECODINGS + 3):
        hidden = "".join(f"%{byte:02x}" for byte in hidden.encode())
    assert mask_of("alice@example.org").body(hidden.encode(), truncated=False) is None


@pytest.mark.parametrize(
    ("request_id", "user", "kept"),
    [
        ("alice-7:001", "alice-7", f"{UNIT}:001"),
        ("17", "17", UNIT),
        ("req-1724", "17", "req-1724"),
        ("0af7651916cd43dd", "alice-7", "0af7651916cd43dd"),
    ],
)
def test_a_request_id_made_of_the_users_is_masked(request_id: str, user: str, kept: str) -> None:
    assert mask_of(user).request_id(request_id.encode()) == kept


def test_a_compressed_body_is_not_kept_for_nobody_could_see_an_id_in_it() -> None:
    body = Body(10_000)
    body.opaque = True
    body.add(gzip.compress(b"alice-7"))
    answer = answer_of("v", Exchanged(200, "", 0, 9), body, mask=mask_of("alice-7"))
    assert (answer.status, answer.body, answer.truncated) == (200, "", True)


def test_bytes_that_are_no_text_are_masked_before_they_become_base64() -> None:
    body = Body(10_000)
    body.add(b"\xff\xfealice-7\x00")
    answer = answer_of("v", Exchanged(200, "", 0, 9), body, mask=mask_of("alice-7"))
    assert base64.b64decode(answer.body) == b"\xff\xfe" + UNIT.encode() + b"\x00"


def test_without_an_id_a_body_is_kept_as_it_is() -> None:
    mask = Mask(b"/recommend?k=3", PARAMETER, "")
    assert mask.body(b'{"user_id":"17","x":"%41"}', truncated=True) == b'{"user_id":"17","x":"%41"}'


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@example(user="\\0\x80\x80", others=None, ascii_only=False, indent=None)
@given(
    user=st.integers(0, 10**9).map(str) | st.text(min_size=1, max_size=12),
    others=values,
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 2),
)
def test_json_stays_json_and_no_value_is_the_id_any_more(
    user: str, others: object, ascii_only: bool, indent: int | None
) -> None:
    number = int(user) if user.isascii() and user.isdigit() and str(int(user)) == user else user
    document = {"user_id": user, "user": number, "of": [number, others], "more": {"user_id": number, "x": [others]}}
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    kept = mask_of(user).body(body, truncated=False)
    if kept is None:
        return
    masked = json.loads(kept)
    if len(user.encode()) >= TELLING_BYTES:
        assert user not in json.dumps(masked, ensure_ascii=False) or user.isdigit()
        assert masked["user_id"] == masked["of"][0] == UNIT


_PIECE = st.text("aU17-_", max_size=8)


@given(st.lists(st.tuples(st.sampled_from(["user_id", "USER_ID", "k", "17", "user-17"]) | _PIECE, _PIECE), max_size=5))
def test_the_quick_way_of_a_plain_query_is_the_long_way(parts: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in parts)
    mask = Mask(f"/r?{query}".encode(), PARAMETER, UNIT)
    long_way = b"&".join(mask._shown(*part.partition(b"=")) for part in query.encode().split(b"&"))
    assert mask.target == f"/r?{long_way.decode()}"


def test_an_answer_to_a_body_of_a_request_that_names_no_user_is_not_kept() -> None:
    """The id may be in that body, and so in the answer, where nobody knows it."""
    assert Mask(b"/recommend?k=3", PARAMETER, "", has_body=True).body(b"for canary-one", False) is None
    assert Mask(b"/recommend?k=3", PARAMETER, "").body(b"popular", False) == b"popular"
    assert Mask(b"/recommend?user_id=canary-one", PARAMETER, UNIT, has_body=True).body(b"x", False) == b"x"
