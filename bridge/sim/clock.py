"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Iterator

from attrs import define, field

TURNS = 10
"""How often the loop goes round after each waking, so that who woke can act, and sleep again."""


@define
class FakeClock:
    """Implements `ports.Clock`. `start_ms` is the time it shows first."""

    start_ms: int = 1_700_000_000_000
    _elapsed: float = field(init=False, default=0.0)
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(init=False, factory=list)
    _order: Iterator[int] = field(init=False, factory=itertools.count)

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self.start_ms + round(self._elapsed * 1000)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    @property
    def waits(self) -> list[float]:
        """Seconds until each of those who wait for this clock would wake, the next one first."""
        return [due - self._elapsed for due, _, waking in sorted(self._sleepers) if not waking.done()]

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced that far; nothing or less lets others run once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), waking))
        await waking

    async def advance(self, seconds: float) -> None:
        """Move on. Sleepers wake in order, each at its own time; those who sleep again within the span wake again."""
        until = self._elapsed + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, waking = heapq.heappop(self._sleepers)
            if not waking.done():
                self._elapsed = max(self._elapsed, due)
                waking.set_result(None)
                await self.settle()
        self._elapsed = until

    async def settle(self) -> None:
        """Let everyone who can run do so, without moving the time."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
