"""What personal data is called here, and where in a text it stands."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import frozen


class Kind(StrEnum):
    """The kinds of personal data that are masked; the value is the word in a placeholder."""

    CARD = "CARD"
    SSN = "SSN"
    EMAIL = "EMAIL"
    PHONE = "PHONE"
    IBAN = "IBAN"
    ACCOUNT = "ACCOUNT"
    IP = "IP"
    POSTAL_CODE = "POSTAL_CODE"
    NATIONAL_ID = "NATIONAL_ID"
    SECRET = "SECRET"  # noqa: S105 - the name of a kind, not a secret


@frozen
class Span:
    """Characters `start` to `end` (end excluded) of a text are of one kind."""

    start: int
    end: int
    kind: Kind


def settle(spans: Iterable[Span]) -> list[Span]:
    """Sorted spans without overlap: one that touches a span before it is merged into it, and takes its kind."""
    settled: list[Span] = []
    for span in sorted(spans, key=lambda found: (found.start, -found.end)):
        if settled and span.start < settled[-1].end:
            last = settled[-1]
            settled[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            settled.append(span)
    return settled
