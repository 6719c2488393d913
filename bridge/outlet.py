"""A destination with its limits: how many posts at once, how many a second, and when to leave it in peace.

Whoever waits here has its lane waiting, and nobody else's: every destination has an outlet of its own.
"""

from __future__ import annotations

import asyncio

from attrs import define, field

from bridge.core.breaker import Breaker
from bridge.ports import Callback, Clock, Destination, Reply
from bridge.settings import DestinationSettings

FAILURES, PAUSE = 5, 30.0
"""So many failures in a row, and only one post goes out every so many seconds, until one succeeds."""


@define
class Outlet:
    """Sends to one destination within its limits."""

    destination: Destination
    settings: DestinationSettings
    _slots: asyncio.Semaphore = field(init=False)
    _breaker: Breaker = field(init=False, factory=lambda: Breaker(FAILURES, PAUSE))
    _not_before: float = field(init=False, default=0.0)
    _next: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.concurrency)

    async def send(self, callback: Callback, clock: Clock) -> Reply:
        """Post once it is its turn. A callback whose time is over meanwhile is not sent, and its reply is final."""
        async with self._slots:
            await self._turn(clock)
            if age(callback, clock) > self.settings.give_up_after:
                return Reply(None, f"not delivered within {self.settings.give_up_after:g} s", final=True)
            reply = await self.destination.send(callback)
        self._learn(reply, clock.monotonic())
        return reply

    def hold(self, until: float) -> None:
        """Send nothing there until then, in seconds of the clock that never goes back."""
        self._not_before = max(self._not_before, until)

    async def _turn(self, clock: Clock) -> None:
        while (wait := self._wait(clock.monotonic())) > 0 or not self._breaker.admit(clock.monotonic()):
            await clock.sleep(wait)
        if self.settings.rate:
            self._next = max(self._next, clock.monotonic()) + 1 / self.settings.rate

    def _wait(self, now: float) -> float:
        return max(self._not_before - now, self._next - now, self._breaker.wait(now))

    def _learn(self, reply: Reply, now: float) -> None:
        """Any answer of its own shows that it works; 429 asks everybody to wait, not only the one who was told."""
        if reply.status is None or reply.status >= 500:
            if not reply.final:
                self._breaker.failed(now)
            return
        self._breaker.succeeded()
        if reply.status == 429 and reply.retry_after:
            self.hold(now + reply.retry_after)


def age(callback: Callback, clock: Clock) -> float:
    """Seconds since the callback was stored."""
    return (clock.now_ms() - callback.stored_ms) / 1000
