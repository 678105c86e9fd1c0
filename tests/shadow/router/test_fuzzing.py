"""Bytes that nobody means: the router refuses or passes on what is well-formed, and goes on serving.

Mutations of the corpus and plain noise, on the side of the client, of the primary's answers and of the shadow's. What
reached an upstream must read the same to h11 and llhttp; what h11 reads in the client's own bytes must be what the
primary got, as far as the router served it; after each example a good request is answered and the counters add up.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence

import h11
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.shadow.router.smuggling.capture import Rig, Script, Standing, echo, standing
from tests.shadow.router.smuggling.corpus import CASES, CHUNKED, GET, POST, TAIL, THREE
from tests.shadow.router.smuggling.readings import Reading, answers_in, begun_by_h11, closes
from tests.shadow.router.test_fragmentation import ANSWERS, CLOSED, pieces_of

TOKENS = [bytes([byte]) for byte in b"\r\n\0 \t:;,0123abfxX+-_\"'/#\x0b\x0c\x7f\x80\x85\xa0\xff"] + [
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"0\r\n\r\n",
    b"1\r\nA\r\n",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 204 X\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: evil\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    TAIL,
]
"""What framing is made of, and what breaks it."""
REQUESTS = [case.raw for case in CASES if len(case.raw) < 1000] + [
    GET + b"\r\n",
    POST + b"Content-Length: 3\r\n\r\nabc",
    CHUNKED + THREE,
    GET + b"\r\n" + CHUNKED + THREE + GET + b"\r\n",
    b"HEAD /x HTTP/1.1\r\nHost: reco\r\n\r\n" + POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
]
RAW_ANSWERS = [raw for _, raw, _ in ANSWERS.values()]
BY_THEMSELVES = [raw for name, (method, raw, _) in ANSWERS.items() if name not in CLOSED and method != b"HEAD"]
"""Answers that end without the end of the connection."""
WHERE = st.integers(0, 1 << 12)


def examples(few: int) -> pytest.MarkDecorator:
    """`few` of them in `make test`, twenty times as many in `make test-long`."""
    return pytest.mark.parametrize(
        "examples", [few, pytest.param(20 * few, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
    )


def thorough(examples: int) -> settings:
    return settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with up to four changes, or noise."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(WHERE) % (len(raw) + 1)
        end = start + draw(st.integers(0, 12))
        change = draw(st.sampled_from(["replace", "insert", "remove", "repeat", "splice", "truncate"]))
        if change == "replace":
            raw = raw[:start] + draw(st.sampled_from(TOKENS)) + raw[start + 1 :]
        elif change == "insert":
            raw = raw[:start] + draw(st.sampled_from(TOKENS)) + raw[start:]
        elif change == "remove":
            raw = raw[:start] + raw[end:]
        elif change == "repeat":
            raw = raw[:end] + raw[start:]
        elif change == "splice":
            other = draw(st.sampled_from(seeds))
            raw = raw[:start] + other[draw(WHERE) % (len(other) + 1) :]
        else:
            raw = raw[:start]
    return raw


CUTS = st.lists(st.integers(1, 300), max_size=4)


@pytest.fixture(scope="module")
def world() -> Iterator[Standing]:
    with standing(breaker_failures=1_000_000) as built:
        yield built


NUMBERS = itertools.count()


async def still_serves(router: Rig) -> None:
    """A good request on a new connection gets its own answer, and every request is accounted for."""
    router.primary.script = router.shadow.script = echo
    target = b"/recommend?user_id=%d" % next(NUMBERS)
    raw = await router.send([b"GET %s HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n" % target])
    (answer,) = answers_in(raw, [b"GET"])
    assert (answer.status, json.loads(answer.body)["target"].encode()) == (200, target)
    await router.settled()
    assert router.stage.arm.balance == 0
    assert router.errors == []


def essence(reading: Reading) -> tuple[bytes, bytes, bytes]:
    return reading.method, reading.target, reading.body


def test_mutations_are_many_and_most_differ_from_their_seeds() -> None:
    found: set[bytes] = set()

    @settings(max_examples=200, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated(REQUESTS))
    def collect(raw: bytes) -> None:
        found.add(raw)

    collect()
    assert len(found - set(REQUESTS)) > 60


@examples(700)
def test_whatever_a_client_sends_only_well_formed_requests_reach_an_upstream(world: Standing, examples: int) -> None:
    @thorough(examples)
    @given(mutated(REQUESTS), CUTS, st.sampled_from(["eof", "eof", "reset"]))
    def check(raw: bytes, cuts: list[int], end: str) -> None:
        note(f"{raw=} {cuts=} {end=}")
        world.run(sent(world.rig, raw, cuts, end))

    check()


async def sent(router: Rig, raw: bytes, cuts: list[int], end: str) -> None:
    router.primary.forget()
    router.shadow.forget()
    got = await router.send(pieces_of(raw, cuts), end)
    await router.settled()
    requests, copies = router.primary.requests(), router.shadow.requests()
    whole = [essence(request) for request in requests if request.whole]
    assert all(copy.whole and essence(copy) in whole for copy in copies)
    for ours, theirs in zip(requests, begun_by_h11(raw), strict=False):
        if ours.whole and theirs.whole:
            assert essence(ours) == essence(theirs)
    answers_in(got, [method for method, _, _ in whole])
    await still_serves(router)


@examples(500)
def test_whatever_the_primary_answers_the_client_gets_one_answer_or_its_beginning(
    world: Standing, examples: int
) -> None:
    @thorough(examples)
    @given(mutated(RAW_ANSWERS), CUTS, st.sampled_from([b"GET", b"HEAD", b"POST"]))
    def check(raw: bytes, cuts: list[int], method: bytes) -> None:
        note(f"{raw=} {cuts=} {method=}")
        world.run(answered_with(world.rig, raw, cuts, method))

    check()


async def answered_with(router: Rig, raw: bytes, cuts: list[int], method: bytes) -> None:
    """Two requests, the second behind the first: its answer must not be taken for a part of the first."""
    router.primary.script = saying(raw, cuts, ends=True)
    router.primary.forget()
    after = b"GET /after HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n"
    got = await router.send([b"%s /x HTTP/1.1\r\nHost: reco\r\n\r\n" % method + after])
    await router.settled()
    first, *rest = answers_in(got, [method, b"GET"])
    if first.whole and not closes(first):
        assert len(rest) == 1
        # Cut, its rest may come when the connection already serves the other request; then it is that one's answer.
        assert cuts or json.loads(rest[0].body)["target"] == "/after"
    else:
        assert rest == []
    asked = [essence(request) for request in router.primary.requests()]
    assert set(asked) <= {(method, b"/x", b""), (b"GET", b"/after", b"")}
    await still_serves(router)


def saying(raw: bytes, cuts: list[int], ends: bool) -> Script:
    def script(head: h11.Request, body: bytes) -> Sequence[bytes]:
        if head.target == b"/after":
            return echo(head, body)
        return [*pieces_of(raw, cuts), b""] if ends else pieces_of(raw, cuts)

    return script


@examples(200)
def test_what_follows_an_answer_is_nobodys(world: Standing, examples: int) -> None:
    @thorough(examples)
    @given(st.sampled_from(BY_THEMSELVES), mutated(RAW_ANSWERS), CUTS)
    def check(raw: bytes, extra: bytes, cuts: list[int]) -> None:
        note(f"{raw=} {extra=} {cuts=}")
        world.run(followed(world.rig, raw, extra, cuts))

    check()


async def followed(router: Rig, raw: bytes, extra: bytes, cuts: list[int]) -> None:
    """The primary's connection stays open with bytes behind the answer; two clients ask behind it."""
    router.primary.script = saying(raw + extra, cuts, ends=False)
    await router.send([b"GET /x HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n"])
    await still_serves(router)
    await still_serves(router)


@examples(300)
def test_whatever_the_shadow_answers_the_client_does_not_notice(world: Standing, examples: int) -> None:
    @thorough(examples)
    @given(mutated(RAW_ANSWERS), CUTS)
    def check(raw: bytes, cuts: list[int]) -> None:
        note(f"{raw=} {cuts=}")
        world.run(shadowed(world.rig, raw, cuts))

    check()


async def shadowed(router: Rig, raw: bytes, cuts: list[int]) -> None:
    router.shadow.script = saying(raw, cuts, ends=True)
    target = b"/recommend?user_id=%d" % next(NUMBERS)
    got = await router.send([b"GET %s HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n" % target])
    (answer,) = answers_in(got, [b"GET"])
    assert (answer.status, json.loads(answer.body)["target"].encode()) == (200, target)
    await router.settled()
    await still_serves(router)
