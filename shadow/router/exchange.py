"""One request from its arrival to its last record, to be read from top to bottom.

Arrival → which arms → the primary, while the request still comes → its answer leaves as it comes → only when its last
byte has left are copies offered. Nothing an arm does can reach back above that line. (In split mode an arm answers some
requests: `shadow.router.trial` changes `_choose`, `_open` and `ended` for that.)
Next module: `shadow.router.client`, which owns the client's connection.
"""

from __future__ import annotations

import time
from sys import getsizeof
from typing import Final

from shadow.contracts import CLIENT_CANCELLED, PRIMARY_ERROR
from shadow.router.answers import UNTIL_CLOSE, AnswerReader
from shadow.router.headers import event_time_of, hops_of, interim_to_client, request_id_of, to_client, to_primary
from shadow.router.http1 import CHUNKED, RefusalError, Request, chunked, problem
from shadow.router.masking import Mask
from shadow.router.mirror import Copy, Mirror
from shadow.router.records import Body, Draft, answer_of
from shadow.router.router import Router
from shadow.router.sampling import user_of
from shadow.router.upstream import Leg
from shadow.router.ways import Exchanged, Respondent, Way
from shadow.units import bucket_of, unit_of

PRIMARY_BODY_BYTES: Final = 256 << 10
"""Bytes of the primary's body that are kept in a record."""
NO_BODY: Final = Body(0)
"""Of a request without one; nothing is ever added to it."""


class Exchange:
    """One request; `body` and `ended` are what came of its body together with its head."""

    def __init__(self, router: Router, request: Request, body: bytes, whole: bool, client: Respondent) -> None:
        self._router = router
        self._request = request
        self._client = client
        self._whole = whole
        self._request_id = request_id_of(request)
        self._arrival_us = time.time_ns() // 1000
        self._identify()
        self._chosen = self._choose()
        self._span = router.log.begin(self._arrival_us, self._records)
        # What comes of the request is kept for the copies, if there are any; it goes to the primary at once.
        self._kept = Body(router.config.copy_bytes if self._chosen else 0) if request.length else NO_BODY
        self._answer = Body(PRIMARY_BODY_BYTES) if self._chosen else None
        self._begun = self._cancelled = self._closing = False
        self._refusal: RefusalError | None = None
        self._framing = 0
        head = to_primary(request, self._request_id, client.address)
        self._leg = self._open(head + self._framed(body, whole), whole)

    def _open(self, data: bytes, whole: bool) -> Way:
        """Off to the primary at once; a split may ask another arm first (`shadow.router.trial`)."""
        return Leg(self._router.pool, self, self._request.method, data, whole)

    # --- the request -------------------------------------------------------------------------------------------------

    def more(self, body: bytes, whole: bool) -> None:
        """More of the request's body came; `whole` with the last of it."""
        self._whole = whole
        data = self._framed(body, whole)
        if data or whole:
            self._leg.send(data, whole)

    def refuse(self, refusal: RefusalError) -> None:
        """The rest of the request is none: the primary must not act on what came so far."""
        self._refusal = refusal
        self._leg.cancel()

    def cancel(self) -> None:
        """The client went away before its answer."""
        self._cancelled = True
        self._leg.cancel()

    def be_the_last(self) -> None:
        """The connection ends with this answer, and the answer says so."""
        self._request.keep_alive = False

    def client_full(self) -> None:
        """The client does not take more of the answer for now."""
        self._leg.pause()

    def client_takes(self) -> None:
        """It does again."""
        self._leg.resume()

    def _framed(self, body: bytes, whole: bool) -> bytes:
        """A part of the request's body as the primary gets it; kept for the copies."""
        if body:
            self._kept.add(body)
        return chunked(body, whole) if self._request.length == CHUNKED else body

    def _identify(self) -> None:
        """The raw user id, which never leaves this object; its unit ("" when there is none); the bucket; the route."""
        router = self._router
        path, _, query = self._request.target.partition(b"?")
        self._eligible = (self._request.method, path) in router.routes
        self._user = user_of(query, router.parameter)
        self._unit = unit_of(self._user, router.unit_key) if self._user is not None else ""
        # A request that names no user is sampled by its own id: it has nothing else to be kept together by.
        self._bucket = bucket_of(self._unit or unit_of(self._request_id, router.unit_key))

    def _choose(self) -> list[Mirror]:
        """The arms that will get an outcome; the others are counted at once."""
        chosen = []
        for mirror, sampler in self._router.shown:
            if not self._eligible:
                mirror.counters.ineligible()
            elif not sampler.takes(self._bucket):
                mirror.counters.unsampled()
            else:
                mirror.counters.begin()
                chosen.append(mirror)
        return chosen

    @property
    def _records(self) -> int:
        """How many records the request will leave."""
        return len(self._chosen)

    # --- the primary's answer ----------------------------------------------------------------------------------------

    def pause_sending(self) -> None:
        """The primary does not take more of the request for now."""
        self._client.pause()

    def resume_sending(self) -> None:
        """It does again."""
        self._client.resume()

    def interim(self, answer: AnswerReader) -> None:
        """Interim answers (100 Continue, say) are passed on to who can understand them."""
        if not self._request.is_http10:
            self._client.write(b"".join(interim_to_client(status, headers) for status, headers in answer.interim))

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:
        """The answer, or a part of it, leaves for the client."""
        head = b"" if self._begun else self._begin(answer)
        if self._answer is not None:
            self._answer.add(data)
        if self._framing == CHUNKED:
            data = chunked(data, done)
        if head or data:
            self._client.write(head + data)

    def _begin(self, answer: AnswerReader) -> bytes:
        self._begun = True
        self._closing = self._is_the_last
        if answer.is_encoded and self._answer is not None:
            self._answer.opaque = True
        head, self._framing = to_client(answer, self._request, self._request_id, self._closing)
        return head

    @property
    def _is_the_last(self) -> bool:
        """Whether the connection ends with this answer. It does, too, when the request is still coming: what comes of
        it later is read by nobody."""
        return not (self._request.keep_alive and self._whole)

    def ended(self, end: Exchanged) -> None:
        """The primary's answer is whole, or will never be."""
        if not end.error:
            self._router.counters.answered += 1
            self._client.finish(self._closing or self._framing == UNTIL_CLOSE)
            self._offer_copies(end)
        elif self._cancelled or self._refusal is not None:
            self._without_copies(CLIENT_CANCELLED, None)
            if self._refusal is not None and not self._cancelled:
                self._fail(self._refusal.status, self._refusal.detail, True)
        else:
            self._router.counters.primary_errors += 1
            status = 504 if end.error == "timeout" else 502
            self._fail(status, f"the primary did not answer ({end.error})", self._is_the_last)
            self._without_copies(PRIMARY_ERROR, end)

    def _fail(self, status: int, detail: str, close: bool) -> None:
        """Say what is wrong, or break the answer off if some of it has left."""
        if self._begun:
            self._client.break_off(self._framing == UNTIL_CLOSE)
            return
        self._client.write(problem(status, detail, self._request_id, close, self._request.method == b"HEAD"))
        self._client.finish(close)

    # --- the line: from here on the client has its answer -------------------------------------------------------------

    def _offer_copies(self, end: Exchanged) -> None:
        if not self._chosen:
            return
        draft = self._draft(end)
        reason = self._not_copied()
        body = self._kept.kept
        # In memory, not on the wire: beyond Latin-1 a text takes two or four bytes for each of its characters.
        held = getsizeof(draft.primary.body if draft.primary else "") + len(draft.target)
        # Whoever is asked first has the machine for a moment to itself: the arms take turns, or shadow − control would
        # measure the order in which the configuration names them.
        first = self._router.counters.answered % len(self._chosen)
        for mirror in self._chosen[first:] + self._chosen[:first]:
            if reason:
                mirror.drop(draft, reason)
            else:
                payload = mirror.headers.copy(self._request, self._request_id, body)
                mirror.offer(Copy(mirror, payload, draft, held))

    def _not_copied(self) -> str:
        """Why no arm gets a copy; "" when all do."""
        if hops_of(self._request) > 0:
            return "loop"
        if self._router.log.stopped:
            return "log_full"
        if self._kept.truncated:
            return "too_large"
        return "" if self._whole else "incomplete"

    def _without_copies(self, outcome: str, end: Exchanged | None) -> None:
        if not self._chosen:
            return
        draft = self._draft(end)
        for mirror in self._chosen:
            mirror.decide(draft, outcome, None)

    def _draft(self, end: Exchanged | None) -> Draft:
        """What the records share, without the user's id; None for an end that tells nothing of the primary."""
        mask = Mask(self._request.target, self._router.parameter, self._unit, self._request.length != 0)
        version, answer = self._router.config.primary.version, self._answer or NO_BODY
        return Draft(
            request_id=mask.request_id(self._request_id),
            experiment=self._router.config.experiment,
            incarnation=self._router.incarnation,
            arrival_us=self._arrival_us,
            event_time_us=event_time_of(self._request, self._arrival_us),
            method=self._request.method.decode(),
            target=mask.target,
            request_bytes=self._kept.size,
            unit=self._unit,
            bucket=self._bucket,
            primary=None if end is None else answer_of(version, end, answer, mask=mask),
            mask=mask,
            span=self._span,
        )
