"""What cannot be answered, as RFC 9457 problem details; everything that fails here is one of these.

A problem that may pass by itself says when to try again (`Retry-After`). Next module: `bentos.requests`, which reads
requests and raises them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from bentos.messages import Problem

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:understudy:problem:"
RETRY_SECONDS: Final = 1

Headers = list[tuple[bytes, bytes]]


class ProblemError(Exception):
    """A request that is not answered: the problem that says why, and headers that belong to it."""

    def __init__(self, problem: Problem, headers: Headers | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers or []

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(self.problem)


def invalid(parameter: str, detail: str) -> ProblemError:
    """422: a parameter or a field of the body that cannot be used; `parameter` is its name or its place."""
    kind = URN + "invalid-parameter"
    return ProblemError(Problem("Invalid parameter", HTTPStatus.UNPROCESSABLE_ENTITY, detail, parameter, kind))


def malformed(detail: str) -> ProblemError:
    """400: a body that is no JSON."""
    return ProblemError(Problem("Malformed body", HTTPStatus.BAD_REQUEST, detail, type=URN + "malformed-body"))


def too_large(most: int) -> ProblemError:
    """413: a body of more than `most` bytes."""
    detail = f"the body has more than {most} bytes"
    return ProblemError(Problem("Body too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, type=URN + "too-large"))


def wrong_media_type(found: str) -> ProblemError:
    """415: a body of another type than JSON."""
    detail = f"send application/json, not {found or 'a body without a type'}"
    kind = URN + "media-type"
    return ProblemError(Problem("Unsupported media type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, type=kind))


def overloaded(most: int) -> ProblemError:
    """429: this process is answering as many requests as it may."""
    detail = f"{most} requests are being answered, which is the most of this process"
    problem = Problem("Too many requests", HTTPStatus.TOO_MANY_REQUESTS, detail, type=URN + "overloaded")
    return ProblemError(problem, retry_after(RETRY_SECONDS))


def unavailable(kind: str, detail: str, seconds: int = RETRY_SECONDS) -> ProblemError:
    """503: what is needed is not there now; `kind` names it in the problem's type."""
    problem = Problem("Service unavailable", HTTPStatus.SERVICE_UNAVAILABLE, detail, type=URN + kind)
    return ProblemError(problem, retry_after(seconds))


def forbidden(kind: str, detail: str) -> ProblemError:
    """403: this process does not do that for anybody."""
    return ProblemError(Problem("Forbidden", HTTPStatus.FORBIDDEN, detail, type=URN + kind))


def unauthorised(detail: str) -> ProblemError:
    """401: the token is missing or another."""
    problem = Problem("Unauthorized", HTTPStatus.UNAUTHORIZED, detail, type=URN + "token")
    return ProblemError(problem, [(b"www-authenticate", b"Bearer")])


def plain(status: int, detail: str = "", headers: Headers | None = None) -> ProblemError:
    """A status that says all there is to say."""
    phrase = HTTPStatus(status).phrase
    return ProblemError(Problem(phrase, status, detail or phrase), headers)


def retry_after(seconds: int) -> Headers:
    """The header that says when to try again."""
    return [(b"retry-after", b"%d" % seconds)]
