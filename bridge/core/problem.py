"""Refusals as RFC 9457 problem documents, `application/problem+json`. Pure: from an error to status, headers, bytes."""

from __future__ import annotations

import json
from http import HTTPStatus

from attrs import frozen

from bridge.errors import RejectedError

MEDIA_TYPE = "application/problem+json"
CODES = {
    400: "malformed",
    401: "signature",
    403: "forbidden",
    404: "not_found",
    405: "method",
    408: "timeout",
    411: "length",
    413: "too_large",
    415: "media_type",
    417: "expectation",
    422: "payload",
    429: "too_many",
    503: "unavailable",
}


@frozen
class Problem:
    """A refusal. `code` is stable and for programs, `detail` for people; neither repeats what was sent.

    `retry_after` in whole seconds.
    """

    status: int
    code: str
    detail: str
    retry_after: int | None = None

    def headers(self) -> dict[str, str]:
        """The response's headers, besides those of the connection."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **wait}

    def body(self) -> bytes:
        """The document. `type` is about:blank (RFC 9457, 4.2.1): `title` is the status' phrase, `code` tells more."""
        title = HTTPStatus(self.status).phrase
        document = {"type": "about:blank", "title": title, "status": self.status}
        return json.dumps({**document, "detail": self.detail, "code": self.code}).encode()


def problem_of(error: RejectedError) -> Problem:
    """What to answer to a request that was refused."""
    return Problem(error.status, error.code, error.detail, error.retry_after)


def problem_for(status: int) -> Problem:
    """What to answer where only a 4xx or 5xx status is known: the web framework's own refusals."""
    return Problem(status, CODES.get(status, f"http_{status}"), HTTPStatus(status).description)
