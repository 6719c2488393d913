"""Lanes: what belongs together goes in order, one at a time; everything else goes on beside it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define
class Lane(Generic[T]):
    """One lane: its first item is under way, the others wait. `newer` is set while any waits."""

    items: deque[T] = field(factory=deque)
    newer: asyncio.Event = field(factory=asyncio.Event)


@define
class Lanes(Generic[T]):
    """All lanes of one owner. `run(item, lane)` ends when the item is settled; the tasks live in `group`."""

    run: Callable[[T, Lane[T]], Awaitable[None]]
    group: asyncio.TaskGroup
    _lanes: dict[Hashable, Lane[T]] = field(init=False, factory=dict)

    def put(self, key: Hashable, item: T) -> None:
        """Add an item at the end of its lane."""
        lane = self._lanes.get(key)
        if lane is not None:
            lane.items.append(item)
            lane.newer.set()
            return
        lane = self._lanes[key] = Lane()
        lane.items.append(item)
        self.group.create_task(self._drain(key, lane))

    def __len__(self) -> int:
        return len(self._lanes)

    async def _drain(self, key: Hashable, lane: Lane[T]) -> None:
        while lane.items:
            await self.run(lane.items[0], lane)
            lane.items.popleft()
            if len(lane.items) < 2:
                lane.newer.clear()
        del self._lanes[key]


async def first_of(work: Awaitable[None], interruption: Awaitable[object]) -> bool:
    """Run `work` until it ends (True; its error is raised) or `interruption` ends first (False: work is cancelled
    and has cleaned up).
    """
    working, interrupting = asyncio.ensure_future(work), asyncio.ensure_future(interruption)
    try:
        await asyncio.wait({working, interrupting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        interrupting.cancel()
        await asyncio.gather(working, interrupting, return_exceptions=True)
