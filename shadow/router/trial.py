"""One request of a split: to the candidate first, and to the primary when anything is wrong with that.

The candidate is asked once the request is whole, and its answer is held whole before a byte of it leaves: until then
the primary can still answer, and the user has waited at most the arm's `deadline_ms` longer. Nothing waits for a slot
of the candidate. Next module: `shadow.router.patience`.
"""

from __future__ import annotations

from typing import Final

from shadow.contracts import PRIMARY
from shadow.router.answers import UNTIL_CLOSE, AnswerReader
from shadow.router.config import RouterConfig
from shadow.router.exchange import Exchange
from shadow.router.mirror import ABORTED, Copy, Mirror
from shadow.router.records import Draft, Shown
from shadow.router.split import Splitter
from shadow.router.ways import Exchanged, Way

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CANCELLED: Final = Exchanged(0, "cancelled", 0, 0)


class SplitExchange(Exchange):
    """An exchange in split mode; every eligible one leaves one exposure, whoever was to answer it."""

    _splitter: Splitter
    _assigned: str
    _trial: Trial | None = None

    def _choose(self) -> list[Mirror]:
        chosen = super()._choose()
        assert self._router.split is not None  # or this were a plain exchange
        self._splitter = self._router.split
        self._assigned = self._splitter.assign(self._eligible, self._request, self._bucket)
        # While the candidate is among the chosen the request is kept; `_open` takes it out, for it gets no copy.
        return [*chosen, self._splitter.mirror] if self._assigned == self._splitter.name else chosen

    @property
    def _records(self) -> int:
        # And its exposure; while the candidate is among the chosen it stands for that.
        return super()._records + (self._assigned == PRIMARY)

    def _open(self, data: bytes, whole: bool) -> Way:
        if self._assigned != self._splitter.name:
            return super()._open(data, whole)
        self._chosen.pop()
        self._trial = Trial(self, self._splitter.mirror, data, whole)
        return self._trial

    # --- what the trial asks and tells -------------------------------------------------------------------------------

    @property
    def left(self) -> bool:
        """Whether the client is gone, or its request turned out to be none."""
        return self._cancelled or self._refusal is not None

    @property
    def too_long(self) -> bool:
        """Whether the request's body is, or will be, longer than what is kept of it."""
        return self._kept.truncated or self._request.length > self._router.config.copy_bytes

    def to_primary(self, data: bytes, whole: bool) -> Way:
        """The request, or what came of it, goes to the primary."""
        return super()._open(data, whole)

    def question(self) -> tuple[bytes, Draft]:
        """The whole request as the candidate gets it: allowed headers, the marker, no credentials."""
        payload = self._splitter.mirror.headers.copy(self._request, self._request_id, self._kept.kept)
        return payload, self._draft(None)

    def invite(self) -> None:
        """Whoever waits to be asked for the body is asked: the primary, which would do it, hears of it later."""
        if not self._request.is_http10 and b"expect" in self._request.known:
            self._client.write(CONTINUE)

    def show(self, answer: AnswerReader, body: bytes, draft: Draft) -> None:
        """The candidate's answer, whole, leaves for the client."""
        self.received(answer, body, True)
        self._client.finish(self._closing or self._framing == UNTIL_CLOSE)
        for mirror in self._chosen:
            mirror.drop(draft, "split")
        self._expose(draft, self._splitter.name, self._splitter.mirror.arm.version, answer.status, "")

    def ended(self, end: Exchanged) -> None:
        """The primary answered, or nobody will."""
        super().ended(end)
        if not self._assigned:
            return
        error = self._trial.error if self._trial is not None else ""
        if not end.error:
            self._expose(self._draft(None), PRIMARY, self._router.config.primary.version, end.status, error)
        else:
            self._expose(self._draft(None), "", "", 0, error or ("client_cancelled" if self.left else end.error))

    def _expose(self, draft: Draft, served: str, version: str, status: int, error: str) -> None:
        self._splitter.decide(draft, Shown(self._assigned, served, version, status, error))
        del self._leg  # a trial knows its exchange: without it the two are freed at once
        self._trial = None


class Trial:
    """The way of an assigned request: held until it is whole, to the candidate, to the primary if that fails."""

    def __init__(self, exchange: SplitExchange, mirror: Mirror, data: bytes, whole: bool) -> None:
        self.error = ""
        """Why the candidate did not answer."""
        self._exchange = exchange
        self._mirror = mirror
        self._held = [data]
        self._asked: Asked | None = None
        self._primary: Way | None = None
        self._go_on(whole)
        if self._primary is None and not whole:
            exchange.invite()

    def send(self, data: bytes, whole: bool) -> None:
        """More of the request."""
        if self._primary is not None:
            self._primary.send(data, whole)
        else:
            self._held.append(data)
            self._go_on(whole)

    def cancel(self) -> None:
        """The client went away, or its request is none."""
        if self._primary is not None:
            self._primary.cancel()
        elif self._asked is not None and self._asked.leg is not None:
            self._asked.leg.cancel()
        else:
            self._exchange.ended(CANCELLED)

    def pause(self) -> None:
        """What the candidate says is held anyway."""
        if self._primary is not None:
            self._primary.pause()

    def resume(self) -> None:
        """See `pause`."""
        if self._primary is not None:
            self._primary.resume()

    def answered(self, asked: Asked, end: Exchanged) -> None:
        """The candidate's part is over."""
        self._asked = None
        if self._exchange.left:
            self._exchange.ended(end)
        elif end.error or end.status >= 500:
            # Cut off by the router itself, at its end or by an abort: its time was over.
            self._fall_back(
                {"": "status_5xx", "cancelled": "timeout", ABORTED: "timeout"}.get(end.error, end.error), True
            )
        else:
            assert asked.answer is not None  # no whole answer without its head
            self._exchange.show(asked.answer, asked.body.kept, asked.draft)

    def _go_on(self, whole: bool) -> None:
        """Ask the candidate as soon as the request is whole; a request that is too long is not for it."""
        if self._exchange.too_long:
            self._fall_back("too_large", whole)
        elif whole:
            self._asked = Asked(self._mirror, *self._exchange.question(), self)
            if reason := self._mirror.ask(self._asked):
                self._asked = None
                self._fall_back(reason, True)

    def _fall_back(self, error: str, whole: bool) -> None:
        self.error = error
        held, self._held = b"".join(self._held), []
        self._primary = self._exchange.to_primary(held, whole)


class Asked(Copy):
    """A request that the candidate has, and a user waits for."""

    __slots__ = ("answer", "trial")

    def __init__(self, mirror: Mirror, payload: bytes, draft: Draft, trial: Trial) -> None:
        super().__init__(mirror, payload, draft, mirror.arm.answer_bytes)
        self.trial = trial
        self.answer: AnswerReader | None = None

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:  # noqa: ARG002 - the protocol's
        """More of the answer; one that cannot be held is none."""
        self.answer = answer
        self.body.add(data)
        if self.body.truncated and self.leg is not None:
            self.leg.give_up("too_large")

    def ended(self, end: Exchanged) -> None:
        """It is over."""
        self.mirror.release(self, end)
        self.trial.answered(self, end)


def exchange_of(config: RouterConfig) -> type[Exchange]:
    """What a request becomes."""
    return SplitExchange if config.mode == "split" else Exchange
