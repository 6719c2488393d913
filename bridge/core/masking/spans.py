"""What personal data is called here, and where in a text it stands."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

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
class Place:
    """Characters `start` to `end` (end excluded) of a text."""

    start: int
    end: int


@frozen
class Span(Place):
    """A place that holds personal data of one kind."""

    kind: Kind


P = TypeVar("P", bound=Place)


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


def in_order(*places: Iterable[Place]) -> list[Place]:
    """Several lists of places as one, by where they begin."""
    return sorted((place for some in places for place in some), key=lambda place: place.start)


def free(places: Iterable[P], claims: Sequence[Place]) -> list[P]:
    """The places that touch none of the claims (sorted, disjoint)."""
    starts = [*(claim.start for claim in claims), sys.maxsize]
    ends = [claim.end for claim in claims]
    return [place for place in places if place.end <= starts[bisect_right(ends, place.start)]]
