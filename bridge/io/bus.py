"""The bus of one process: live text from the worker to the panels, in memory.

A publisher never waits. A subscriber may fall `limit` messages behind; then it is cut off, alone: its iterator ends,
what it had not read is forgotten, and it listens anew and looks up what it missed. To be used from one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from attrs import define, field, frozen


@frozen
class Kept:
    """The last message of a channel, and when it was published: seconds of the bus's clock."""

    message: bytes = field(repr=False)
    at: float


@define
class Shelf:
    """One message for each of at most `limit` channels, the least recently published going first, for `seconds`."""

    now: Callable[[], float] = time.monotonic
    limit: int = 2_000
    seconds: float = 600.0
    _kept: OrderedDict[str, Kept] = field(init=False, factory=OrderedDict)

    def __contains__(self, channel: object) -> bool:
        return channel in self._kept

    def put(self, channel: str, message: bytes, at: float) -> None:
        """Keep it in the place of the one before."""
        self._kept[channel] = Kept(message, at)
        self._kept.move_to_end(channel)
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    def get(self, channel: str) -> Kept | None:
        """What is kept of the channel."""
        kept = self._kept.get(channel)
        return kept if kept and kept.at >= self.now() - self.seconds else None

    def drop(self, channel: str) -> None:
        """Forget the channel's message."""
        self._kept.pop(channel, None)

    def tidy(self) -> None:
        """Forget what has lain here too long."""
        oldest = self.now() - self.seconds
        while self._kept and next(iter(self._kept.values())).at < oldest:
            self._kept.popitem(last=False)


@define
class LocalBus:
    """Channels by name; one exists while somebody listens. Satisfies `ports.Bus`."""

    limit: int = 1_000
    shelf: Shelf = field(factory=Shelf)
    _listening: dict[str, set[_Subscriber]] = field(init=False, factory=dict)

    def publish(self, channel: str, message: bytes, *, keep: bool = False) -> None:
        """Hand a message to everyone who listens to the channel now, and keep it for those who come later."""
        self.hand_out(channel, message, self.shelf.now() if keep else None)

    def hand_out(self, channel: str, message: bytes, kept_at: float | None) -> None:
        """As `publish`, of a message that was published at `kept_at`; None: it is not kept."""
        if kept_at is not None:
            self.shelf.put(channel, message, kept_at)
        for subscriber in self._listening.get(channel, ()):
            subscriber.offer(message)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Listen from now on, to the kept message first. The iterator ends only when messages were lost."""
        subscriber = _Subscriber(self.limit)
        if kept := self.shelf.get(channel):
            subscriber.offer(kept.message)
        self._listening.setdefault(channel, set()).add(subscriber)
        try:
            yield subscriber
        finally:
            self._listening[channel].remove(subscriber)
            if not self._listening[channel]:
                del self._listening[channel]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that somebody listens to."""
        return tuple(self._listening)

    def hears(self, channel: str) -> bool:
        """Whether anybody listens to the channel."""
        return channel in self._listening

    def cut_off(self, channel: str) -> None:
        """Messages were lost on their way here: whoever listens to the channel is to look up what it missed."""
        for subscriber in self._listening.get(channel, ()):
            subscriber.cut_off()


@define(eq=False)
class _Subscriber:
    """The messages one subscriber has not read yet."""

    limit: int
    _unread: deque[bytes] = field(init=False, factory=deque)
    _is_cut_off: bool = field(init=False, default=False)
    _news: asyncio.Future[None] | None = field(init=False, default=None)
    """What the one reader waits for: half the work of an Event, which is for many."""

    def offer(self, message: bytes) -> None:
        if self._is_cut_off:
            return
        if len(self._unread) < self.limit:
            self._unread.append(message)
            self._wake()
        else:
            self.cut_off()

    def cut_off(self) -> None:
        self._is_cut_off = True
        self._unread.clear()
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._unread:
            if self._is_cut_off:
                raise StopAsyncIteration
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._unread.popleft()
