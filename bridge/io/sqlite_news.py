"""Tails: the backlog in pages from the file, then what commits push. No gap, nothing twice, bounded memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define

from bridge.io.sqlite_file import SQL
from bridge.io.sqlite_rows import callback_of, delivery_of
from bridge.io.sqlite_turn import News, Placed, Turn
from bridge.ports import Callback, Delivery, Stored

T = TypeVar("T")

_PAGE = 256
_WAITING = 1024
"""Rows that may wait in a tail for a slow reader; beyond it they are read from the file when their time comes."""
_FOREIGN = 1024


@define
class Page(Generic[T]):
    """Unfinished rows by their place, up to `upto`, under the partition's `epoch`. Not `full`: these are all."""

    rows: list[tuple[int, T]]
    upto: int
    epoch: int
    full: bool


PageReader = Callable[[int, int, int], Awaitable[Page[T]]]
"""(partition, after which place, how many) -> page"""


class Feed(Generic[T]):
    """One tail of one partition under one epoch.

    It is behind (reads pages) until a page shows that nothing is left, then takes what is pushed. Places only grow,
    in the order of commits, so the cursor says for each row whether it was given out.
    """

    def __init__(self, partition: int, epoch: int, read: PageReader[T]) -> None:
        self.partition, self.epoch, self._read = partition, epoch, read
        self._ready: deque[T] = deque()
        self._cursor = self._newest = 0
        self._behind, self._open = True, True
        self._stirred = asyncio.Event()

    def __aiter__(self) -> Feed[T]:
        return self

    async def __anext__(self) -> T:
        while self._open:
            if self._ready:
                return self._ready.popleft()
            if self._behind:
                await self._turn_page()
            else:
                self._stirred.clear()
                await self._stirred.wait()
        raise StopAsyncIteration

    def push(self, place: int, item: T) -> None:
        """A row that was just committed."""
        self._newest = max(self._newest, place)
        if place <= self._cursor:
            return
        self._behind = self._behind or len(self._ready) >= _WAITING
        if not self._behind:
            self._ready.append(item)
            self._cursor = place
        self._stirred.set()

    def close(self) -> None:
        """End the tail; what is not given out yet stays unfinished in the file."""
        self._open = False
        self._ready.clear()
        self._stirred.set()

    async def _turn_page(self) -> None:
        page = await self._read(self.partition, self._cursor, _PAGE)
        if page.epoch != self.epoch:
            self.close()
        if self._open:
            self._ready.extend(item for _, item in page.rows)
            self._cursor = page.rows[-1][0] if page.full else page.upto
            self._behind = page.full or self._newest > self._cursor


class Feeds(Generic[T]):
    """The open tails of one kind, one a partition."""

    def __init__(self, read: PageReader[T]) -> None:
        self._read = read
        self._feeds: dict[int, Feed[T]] = {}

    def __contains__(self, partition: object) -> bool:
        return partition in self._feeds

    def __len__(self) -> int:
        return len(self._feeds)

    def open(self, partition: int, epoch: int) -> Feed[T]:
        """A new tail; it takes the place of the one before."""
        if before := self._feeds.pop(partition, None):
            before.close()
        feed = self._feeds[partition] = Feed(partition, epoch, self._read)
        return feed

    def push(self, partition: int, place: int, item: T) -> None:
        """Hand a committed row to the partition's tail, if there is one."""
        if feed := self._feeds.get(partition):
            feed.push(place, item)

    def fence(self, epochs: Mapping[int, int]) -> None:
        """End the tails whose epoch has passed."""
        for feed in [feed for feed in self._feeds.values() if epochs.get(feed.partition) != feed.epoch]:
            feed.close()
            del self._feeds[feed.partition]


class Tails:
    """All tails of this process. `read` runs a query and awaits its answer."""

    def __init__(self, read: Callable[..., Awaitable[Any]]) -> None:
        self.deliveries = Feeds[Delivery](partial(read, read_page, DELIVERIES))
        self.callbacks = Feeds[Callback](partial(read, read_page, CALLBACKS))

    def __contains__(self, partition: object) -> bool:
        return partition in self.deliveries or partition in self.callbacks

    def __len__(self) -> int:
        return len(self.deliveries) + len(self.callbacks)

    def hear(self, news: News) -> None:
        """Take in what a commit brought."""
        for place, delivery in news.deliveries:
            self.deliveries.push(delivery.partition, place, delivery)
        for place, callback in news.callbacks:
            self.callbacks.push(callback.partition, place, callback)
        if news.epochs is not None:
            self.fence(news.epochs)

    def fence(self, epochs: Mapping[int, int]) -> None:
        """End the tails whose epoch has passed; none holds any more: end all."""
        self.deliveries.fence(epochs)
        self.callbacks.fence(epochs)


def _delivery(placed: Placed) -> tuple[int, Delivery]:
    place, seq, new, handler, mode, partition = placed
    stored = Stored(seq, new.id, new.conversation, new.kind, new.body, new.received_ms)
    return place, Delivery(stored, handler, mode, partition)


class Watch:
    """What each commit means for the tails: ours from memory, those of other processes and of operators from the file.

    Lives in the writer's thread. Rows of others can lie between ours, so once others wrote, all are read again.
    """

    def __init__(self, db: sqlite3.Connection, tailed: Tails) -> None:
        self._db, self._tailed = db, tailed
        self._version = self._data_version()
        self._delivery, self._callback = self._last("delivery"), self._last("callback")

    def news(self, turns: Sequence[Turn]) -> list[News]:
        """News of the turns just committed, and of whatever others committed up to now."""
        version = self._data_version()
        if version != self._version or any(turn.requeued for turn in turns):
            self._version = version
            return list(self._read())
        return [news for turn in turns if (news := self._news_of(turn))]

    def _news_of(self, turn: Turn) -> News:
        """Only now, after the commit: a tail that opens from here on finds these rows in the file."""
        if turn.deliveries:
            self._delivery = turn.deliveries[-1][0]
        if turn.callbacks:
            self._callback = max(place for place, _ in turn.callbacks)
        wanted = [_delivery(placed) for placed in turn.deliveries if placed[-1] in self._tailed]
        return News(wanted, turn.callbacks, turn.epochs if turn.moved else None)

    def _read(self) -> Iterator[News]:
        last_delivery, last_callback = self._last("delivery"), self._last("callback")
        yield News(epochs=dict(self._db.execute(SQL["epochs"]).fetchall()))
        while self._tailed and (rows := self._new("new_deliveries", self._delivery)):
            self._delivery = rows[-1][0]
            yield News(deliveries=[(row[0], delivery_of(row)) for row in rows])
        while self._tailed and (rows := self._new("new_callbacks", self._callback)):
            self._callback = rows[-1][0]
            yield News(callbacks=[(row[0], callback_of(row)) for row in rows])
        self._delivery, self._callback = max(self._delivery, last_delivery), max(self._callback, last_callback)

    def _new(self, name: str, after: int) -> list[tuple[Any, ...]]:
        return self._db.execute(SQL[name], (after, _FOREIGN)).fetchall()

    def _last(self, table: str) -> int:
        return last_place(self._db, table)

    def _data_version(self) -> int:
        """Changes when another connection commits, not when this one does."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])


def last_place(db: sqlite3.Connection, table: str) -> int:
    """The highest number that the table ever gave to a row."""
    return int(db.execute(SQL["last_place"], (table,)).fetchone()[0])


def read_page(
    db: sqlite3.Connection, kind: tuple[str, str, Callable[[Any], T]], partition: int, after: int, limit: int
) -> Page[T]:
    """A page of a tail. `kind`: its table, its query and how a row becomes an object."""
    table, query, item_of = kind
    upto = last_place(db, table)
    rows = db.execute(SQL[query], (partition, after, upto, limit)).fetchall()
    (epoch,) = db.execute(SQL["epoch"], (partition,)).fetchone()
    return Page([(row[0], item_of(row)) for row in rows], upto, epoch, len(rows) == limit)


DELIVERIES: tuple[str, str, Callable[[Any], Delivery]] = ("delivery", "waiting_deliveries", delivery_of)
CALLBACKS: tuple[str, str, Callable[[Any], Callback]] = ("callback", "waiting_callbacks", callback_of)
