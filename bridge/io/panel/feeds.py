"""The conversations that are watched: one feed each, from the bus and the log to all who look.

Rules. A viewer holds a place in the feed's ring and nothing else, so the slowest costs no more memory than the fastest
and delays nobody: once the ring has overtaken it, or it has not taken a byte for a whole beat, it is cut off. The
browser comes back by itself and gets what it missed. A feed is kept for a while after the last viewer left, so that a
short gap in the network is no gap on the page.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from attrs import define, field

from bridge.core.sse import KEEP_ALIVE
from bridge.errors import RejectedError
from bridge.io.panel.live import Live, PanelLine
from bridge.ports import Bus, Clock

log = logging.getLogger(__name__)

Read = Callable[[str], Awaitable[list[PanelLine]]]
"""The conversation's lines up to now, ordered by time of speech."""

RETRY = b"retry: 1000\n\n"
BEAT = 15.0
"""Seconds between heartbeats: proxies close what is silent for 30 to 60."""
KEEP = 600.0
"""Seconds a feed is kept after the last viewer left or the last message came."""
RELISTEN = 0.2
"""Seconds before listening again to a bus that cut us off."""


@define
class Feeds:
    """At most `limit` feeds, the least recently used without a viewer going first; `frames`: what each one keeps."""

    read: Read
    bus: Bus
    clock: Clock
    limit: int = 2_000
    frames: int = 500
    _kept: OrderedDict[str, Feed] = field(init=False, factory=OrderedDict)

    @contextmanager
    def watch(self, conversation: str, last_event_id: str, cut: Callable[[], None]) -> Iterator[View]:
        """Look at a conversation, from the frame seen last ("": from the start). `cut` drops a browser that is stuck.

        Raises RejectedError 503 when all feeds there may be are being watched.
        """
        feed = self._feed(conversation)
        view = View(feed, feed.live.position(last_event_id), cut)
        feed.views.add(view)
        try:
            yield view
        finally:
            feed.views.remove(view)
            feed.used = self.clock.monotonic()
            self._refresh(feed)

    async def close(self) -> None:
        """End all feeds; their viewers' streams end well-formed."""
        tasks = [feed.task for feed in self._kept.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _feed(self, conversation: str) -> Feed:
        feed = self._kept.get(conversation)
        if feed is None:
            self._make_room()
            feed = Feed(conversation, self.read, self.bus, self.clock, Live(self.frames))
            feed.task.add_done_callback(partial(self._ended, feed))
            self._kept[conversation] = feed
        self._refresh(feed)
        return feed

    def _refresh(self, feed: Feed) -> None:
        if self._kept.get(feed.conversation) is feed:
            self._kept.move_to_end(feed.conversation)

    def _make_room(self) -> None:
        if len(self._kept) < self.limit:
            return
        unwatched = next((feed for feed in self._kept.values() if not feed.views), None)
        if unwatched is None:
            raise RejectedError(503, "too_many_panels", f"{self.limit} conversations are watched", retry_after=5)
        del self._kept[unwatched.conversation]
        unwatched.task.cancel()

    def _ended(self, feed: Feed, task: asyncio.Task[None]) -> None:
        if self._kept.get(feed.conversation) is feed:
            del self._kept[feed.conversation]
        feed.end()
        if not task.cancelled() and (error := task.exception()):
            log.error("a panel's feed failed", extra={"action": "panel_failed"}, exc_info=error)


@define(eq=False)
class Feed:
    """One conversation on its way to its viewers: listens, reads, beats, until nobody has looked for `KEEP`."""

    conversation: str
    read: Read
    bus: Bus
    clock: Clock
    live: Live
    views: set[View] = field(init=False, factory=set)
    over: bool = field(init=False, default=False)
    used: float = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    _nudge: asyncio.Event = field(init=False, factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.used = self.clock.monotonic()
        self.task = asyncio.create_task(self._run(), name=f"panel {self.conversation}")

    def end(self) -> None:
        """Tell the viewers that nothing more will come."""
        self.over = True
        self._wake()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listen()), group.create_task(self._reread())]
            await self._beat()
            for task in tasks:
                task.cancel()

    async def _listen(self) -> None:
        while True:
            async with self.bus.subscribe(self.conversation) as messages:
                self._nudge.set()
                async for message in messages:
                    self._take(message)
            self.live.forget()
            self._wake()
            await self.clock.sleep(RELISTEN)

    def _take(self, message: bytes) -> None:
        last, self.used = self.live.last, self.clock.monotonic()
        if self.live.take(message):
            self._nudge.set()
        if self.live.last != last:
            self._wake()

    async def _reread(self) -> None:
        """One reading at a time; nudges that come meanwhile are one more reading."""
        while await self._nudge.wait():
            self._nudge.clear()
            self.live.show(await self.read(self.conversation))
            self._wake()

    async def _beat(self) -> None:
        while self.views or self.clock.monotonic() - self.used < KEEP:
            await self.clock.sleep(BEAT)
            for view in self.views:
                view.beat()

    def _wake(self) -> None:
        for view in self.views:
            view.news.set()


@define(eq=False)
class View:
    """One browser. Iterate for blocks of whole frames; the end means that it shall come back."""

    _feed: Feed
    _position: int | None
    _cut: Callable[[], None]
    news: asyncio.Event = field(init=False, factory=asyncio.Event)
    _beaten: bool = field(init=False, default=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield RETRY
        self.news.set()
        while await self.news.wait() and not self._feed.over:
            self.news.clear()
            beaten, self._beaten = self._beaten, False
            block = self._due()
            if block is None:
                return
            if block or beaten:
                yield block or KEEP_ALIVE

    def beat(self) -> None:
        """Called every `BEAT`: a heartbeat for who waits for news, the end for who still writes since the last one."""
        if self._beaten:
            self._cut()
        self._beaten = True
        self.news.set()

    def _due(self) -> bytes | None:
        """What to send now; None when the ring has overtaken us."""
        live = self._feed.live
        if not live.ready:
            return b""
        block = live.reset() if self._position is None else live.after(self._position)
        self._position = live.last
        return block
