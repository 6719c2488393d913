"""When to try again, and whether. Pure: chance, the present and the age of the matter are arguments.

Waits have full jitter (anything from nothing up to the scheduled wait), so that what failed together does not come back
together. A `Retry-After` of the other side is the least wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from attrs import frozen

Verdict = Literal["delivered", "later", "dead", "pause"]

LONGEST_WAIT = 86_400.0
"""Seconds. A `Retry-After` beyond a day is an error of the other side, or a wish that would outlive the matter."""

NOT_NOW = frozenset({408, 425, 429})
"""The 4xx that speak of the moment and not of the request."""


@frozen
class Policy:
    """`waits` in seconds before the second try, the third, …; the last repeats. `tries` in all, the first included.

    No try begins once the matter is older than `deadline` seconds.
    """

    waits: tuple[float, ...]
    tries: int
    deadline: float = math.inf


def doubling(first: float, most: float) -> tuple[float, ...]:
    """`first` seconds and twice as much each time, up to `most`."""

    def steps() -> Iterator[float]:
        wait = first
        while wait < most:
            yield wait
            wait *= 2
        yield most

    return tuple(steps())


CALLBACK_WAITS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""The example schedule of the Standard Webhooks specification; the first try is at once."""
HANDLER_WAITS = doubling(1.0, 60.0)
GATEWAY_WAITS = doubling(0.25, 8.0)


def delay(
    failures: int, policy: Policy, random: float, *, retry_after: float | None = None, age: float = 0.0
) -> float | None:
    """Seconds to wait after the how-manieth failure (1 or more), or None: give up.

    `random` in [0, 1); `age` in seconds since the matter arose.
    """
    if failures >= policy.tries:
        return None
    scheduled = policy.waits[min(failures, len(policy.waits)) - 1]
    wait = max(scheduled * random, min(retry_after or 0.0, LONGEST_WAIT))
    return wait if age + wait <= policy.deadline else None


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait (0 to LONGEST_WAIT) from the header's seconds or date (RFC 9110, 10.2.3); None when it has none.

    `now` in seconds since 1970 UTC. Never raises: the value is the other side's.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(value)
        wait = _utc(date).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT)


def _utc(date: datetime) -> datetime:
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def verdict(status: int | None, *, final: bool = False) -> Verdict:
    """What an answer means for a callback. `status` None: no answer came; `final`: the address may not be dialled.

    410 asks us to stop sending there (Standard Webhooks, "Disabling endpoints"). Redirects are not followed, so a 3xx
    is as wrong as a 4xx.
    """
    if final:
        return "dead"
    if status is None or status in NOT_NOW or status >= 500:
        return "later"
    if status == 410:
        return "pause"
    return "delivered" if 200 <= status < 300 else "dead"
