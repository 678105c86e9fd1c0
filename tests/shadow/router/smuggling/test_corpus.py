"""Every case of the corpus over real sockets: refused without a trace, or read in one way only."""

from __future__ import annotations

import json

import pytest

from tests.shadow.router.smuggling.capture import Rig, rig
from tests.shadow.router.smuggling.corpus import CASES, TAIL, Case, Seen
from tests.shadow.router.smuggling.readings import Answered, Reading, answers_in

REFUSED = [case for case in CASES if not case.seen and not case.in_body]
CUT = [case for case in CASES if case.in_body]
SERVED = [case for case in CASES if case.seen]
LAST = b"GET /last HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n"
"""Behind what is served: it is answered only if the router is where the sender is."""
ONCE = (b"host", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto")
"""What every request has exactly once when it comes to the primary."""
HOP_BY_HOP = (b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade")


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "_") for case in cases])


def test_the_corpus_is_large_its_names_are_unique_and_the_tail_is_as_long_as_its_cases_say() -> None:
    assert min(len(REFUSED), len(SERVED), len(CUT)) >= 40
    assert len({case.name for case in CASES}) == len(CASES) >= 400
    assert len(TAIL) == 40


def apart(raw: bytes) -> list[bytes]:
    """Byte by byte, or a long one in a hundred pieces: each is read alone (test_fragmentation proves it)."""
    size = 1 + len(raw) // 1000 * 10
    return [raw[start : start + size] for start in range(0, len(raw), size)]


async def refusals(router: Rig, case: Case) -> None:
    """The case alone, with a request behind it, and that in pieces: refused each time."""
    for pieces in ([case.raw], [case.raw + TAIL], apart(case.raw + TAIL)):
        (refusal,) = answers_in(await router.send(pieces), [])
        assert_refusal(refusal, case)


@named(REFUSED)
async def test_what_is_refused_reaches_no_upstream(case: Case) -> None:
    async with rig() as router:
        await refusals(router, case)
        arm = router.stage.arm
        assert (arm.received, arm.refused, arm.balance) == (3, 3, 0)
        assert everything(router) == b""


@named(CUT)
async def test_a_body_that_is_none_ends_the_request_and_nothing_behind_it_leaves(case: Case) -> None:
    async with rig() as router:
        await refusals(router, case)
        await router.settled()
        assert (router.stage.arm.received, router.stage.arm.balance) == (3, 0)
        assert b"/smuggled" not in everything(router)
        assert not any(reading.whole for reading in router.primary.requests() + router.shadow.requests())


@named(SERVED)
async def test_what_is_served_is_read_in_one_way_only(case: Case) -> None:
    ends = case.closes or bool(case.statuses)
    raw, seen = (case.raw, case.seen) if ends else (case.raw + LAST, (*case.seen, Seen(b"GET", b"/last")))
    async with rig() as router:
        for times, pieces in enumerate(([raw], apart(raw)), 1):
            router.primary.forget()
            router.shadow.forget()
            assert_answers(answers_in(await router.send(pieces), [each.method for each in seen]), case, seen)
            await router.settled()
            for reading, each in zip(router.primary.requests(), seen, strict=True):
                assert_reading(reading, each)
            assert_copies(router, seen)
            assert router.stage.arm.received == times * (len(seen) + bool(case.statuses))
            assert router.stage.arm.balance == 0


def assert_answers(answers: list[Answered], case: Case, seen: tuple[Seen, ...]) -> None:
    """An echo for each request, in their order, and the refusal if there is to be one."""
    if case.statuses:
        assert_refusal(answers.pop(), case)
    assert [(answer.status, answer.whole) for answer in answers] == [(200, True)] * len(seen)
    for answer, each in zip(answers, seen, strict=True):
        assert each.method == b"HEAD" or json.loads(answer.body)["target"].encode("latin-1") == each.target


def assert_refusal(answer: Answered, case: Case) -> None:
    assert answer.whole
    assert answer.status in case.statuses
    assert answer.value(b"content-type") == b"application/problem+json"
    assert answer.value(b"connection") == b"close"
    assert json.loads(answer.body)["status"] == answer.status


def assert_reading(reading: Reading, seen: Seen) -> None:
    """A request at the primary: as the case says, and with a head that only the router can have written."""
    assert (reading.method, reading.target, reading.body, reading.whole) == (seen.method, seen.target, seen.body, True)
    assert reading.trailers == ()
    for name in ONCE:
        assert len(reading.values(name)) == 1, name
    for name in (*HOP_BY_HOP, *seen.never):
        assert reading.values(name) == [], name
    for name, value in seen.must:
        assert reading.values(name) == [value]
    lengths, codings = reading.values(b"content-length"), reading.values(b"transfer-encoding")
    framing = [([b"%d" % len(seen.body)], []), ([], [b"chunked"]), *([] if seen.body else [([], [])])]
    assert (lengths, codings) in framing


def assert_copies(router: Rig, seen: tuple[Seen, ...]) -> None:
    """The shadow got whole requests, each of them one of those that the primary got."""
    for copy in router.shadow.requests():
        assert copy.whole
        assert (copy.method, copy.target, copy.body) in [(each.method, each.target, each.body) for each in seen]
        assert len(copy.values(b"host")) == 1
        assert copy.trailers == ()


def everything(router: Rig) -> bytes:
    return b"".join(bytes(raw) for capture in (router.primary, router.shadow) for raw in capture.connections)
