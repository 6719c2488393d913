"""The bus of one process: live text from the worker to the panels, in memory.

A publisher never waits. A subscriber may fall `limit` messages behind; then it is cut off, alone: its iterator ends,
what it had not read is forgotten, and it listens anew and looks up what it missed. To be used from one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field


@define
class LocalBus:
    """Channels by name; one exists while somebody listens. Satisfies `ports.Bus`."""

    limit: int = 1_000
    _listening: dict[str, set[_Subscriber]] = field(init=False, factory=dict)

    def publish(self, channel: str, message: bytes) -> None:
        """Hand a message to everyone who listens to the channel now."""
        for subscriber in self._listening.get(channel, ()):
            subscriber.offer(message)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Listen from now on. The iterator ends only when it was too slow."""
        subscriber = _Subscriber(self.limit)
        self._listening.setdefault(channel, set()).add(subscriber)
        try:
            yield subscriber
        finally:
            self._listening[channel].remove(subscriber)
            if not self._listening[channel]:
                del self._listening[channel]


@define(eq=False)
class _Subscriber:
    """The messages one subscriber has not read yet."""

    limit: int
    _unread: deque[bytes] = field(init=False, factory=deque)
    _cut_off: bool = field(init=False, default=False)
    _news: asyncio.Event = field(init=False, factory=asyncio.Event)

    def offer(self, message: bytes) -> None:
        if self._cut_off:
            return
        if len(self._unread) < self.limit:
            self._unread.append(message)
        else:
            self._cut_off = True
            self._unread.clear()
        self._news.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._unread:
            if self._cut_off:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._unread.popleft()
