"""The embedded engine: one SQLite file, shared by the processes of one host.

One thread writes (`sqlite_writer`, whose steps are in `sqlite_steps`, `sqlite_ledger` and `sqlite_retention`), one
reads (`sqlite_views`), tails are fed by what was committed (`sqlite_news`), and file locks tell who lives
(`sqlite_peers`). Together these files are one thing: the rule that modules of `io` do not import each other is about
the things outside.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from attrs import define, field

from bridge.errors import ConfigError, RejectedError
from bridge.io import sqlite_ledger as tokens
from bridge.io import sqlite_steps as steps
from bridge.io import sqlite_views as views
from bridge.io.sqlite_file import connect_for_use, prepare_file
from bridge.io.sqlite_news import Tails, Watch
from bridge.io.sqlite_peers import OwnLock, Peers, remove_lock
from bridge.io.sqlite_retention import START, retire
from bridge.io.sqlite_turn import Step, Turn
from bridge.io.sqlite_views import Reader
from bridge.io.sqlite_writer import Writer
from bridge.ports import (
    Appended,
    Arrival,
    Callback,
    CallbackState,
    Clock,
    Counts,
    Delivery,
    DeliveryState,
    Effect,
    Engine,
    Record,
    Reservation,
    Stored,
)

A = TypeVar("A")
R = TypeVar("R")

_ROUNDS = 256
"""Rounds of forgetting in the time that events are kept."""
_OF_THE_CALLER = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY})


@asynccontextmanager
async def open_sqlite(  # noqa: PLR0913 - one argument a setting
    path: str | Path,
    *,
    partitions: int = 64,
    clock: Clock,
    lease: float = 2.0,
    keep_events: float = 604_800,
    worker: str | None = None,
    on_fault: Callable[[BaseException], None] | None = None,
) -> AsyncIterator[Engine]:
    """Open the file, or make it. `lease` and `keep_events` in seconds; `partitions` is fixed when the file is made.

    `worker` names this process among those that share the file. `on_fault` hears of an error after which the engine
    cannot be trusted: end the process. Raises ConfigError when the file cannot be used.
    """
    path = await asyncio.to_thread(prepare_file, Path(path), partitions)
    worker, fault = worker or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}", on_fault or _ignore
    async with AsyncExitStack() as stack:
        writing = stack.enter_context(closing(connect_for_use(path)))
        reader = stack.enter_context(closing(Reader(connect_for_use(path), fault)))
        lock = stack.enter_context(closing(OwnLock(path)))
        tails = Tails(reader.read)
        stack.callback(tails.fence, {})
        writer = Writer(partial(Turn, writing, worker), clock, Watch(writing, tails), tails.hear)
        writer.start(fault)
        stack.push_async_callback(writer.close)
        engine = SqliteEngine(partitions, worker, clock, lease, reader, writer, tails, lock, fault)
        stack.push_async_callback(engine.leave)
        stack.callback(asyncio.create_task(engine.keep_forgetting(keep_events)).cancel)
        yield engine


def _ignore(_: BaseException) -> None:
    """Whoever asked gets the error too."""


@define
class SqliteEngine:
    """The contract of `ports.Engine` on one file."""

    partitions: int
    worker: str
    _clock: Clock
    _lease: float
    _reader: Reader
    _writer: Writer
    _tails: Tails
    _lock: OwnLock
    _fault: Callable[[BaseException], None]
    _peers: Peers = field(init=False, factory=Peers)
    _next_beat: float = field(init=False, default=0.0)

    # --- the log ------------------------------------------------------------------------------------------------

    async def append(self, arrivals: Sequence[Arrival]) -> list[Appended]:
        """Store events with their deliveries. Raises RejectedError 503 `storage` when the disk takes no more."""
        try:
            return await self._writer.do(steps.append, arrivals, sum(len(arrival.body) for arrival in arrivals))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _PASSING:
                raise RejectedError(503, "storage", f"the event store cannot write: {error}", retry_after=5) from error
            self._blame(error)
            raise

    async def history(self, conversation: str) -> list[Stored]:
        """The conversation's events in log order."""
        return await self._reader.read(views.history, conversation)

    # --- owning -------------------------------------------------------------------------------------------------

    async def acquire(self, partitions: Collection[int]) -> dict[int, int]:
        """Become owner: {partition: new epoch}."""
        return await self._write(steps.acquire, partitions)

    async def release(self, owned: Mapping[int, int]) -> None:
        """Give partitions free."""
        await self._write(steps.release, owned)

    async def owners(self) -> dict[int, str | None]:
        """{partition: worker id}."""
        return await self._reader.read(views.owners)

    async def beat(self) -> set[str]:
        """Live workers. Call it often: a look costs microseconds, only every quarter of the lease is a write."""
        rows = await self._reader.read(views.workers)
        others = [row for row in rows if row[2] != str(self._lock.path)]
        now = self._clock.monotonic()
        alive, dead = self._peers.judge(others, now, self._lease)
        for row in dead:
            await self._write(steps.forget_worker, row)
            remove_lock(row)
        if self.worker in alive:
            raise ConfigError([f"worker {self.worker!r} runs already on this file; give each worker a name of its own"])
        if now >= self._next_beat:
            await self._write(steps.beat, self._lock.take())
            self._next_beat = now + self._lease / 4
        return alive | {self.worker}

    # --- deliveries ---------------------------------------------------------------------------------------------

    def tail(self, partition: int, epoch: int) -> AsyncIterator[Delivery]:
        """Unfinished deliveries in log order, then new ones. One tail a partition: a second ends the first."""
        return self._tails.deliveries.open(partition, epoch)

    async def finish(
        self,
        delivery: Delivery,
        epoch: int,
        effects: Sequence[Effect] = (),
        *,
        state: DeliveryState = "finished",
    ) -> bool:
        """Settle a delivery and store its effects. False: fenced, or settled before."""
        return await self._write(
            steps.settle_deliveries, steps.Settlement(delivery, epoch, state, effects=tuple(effects))
        )

    async def park(self, delivery: Delivery, epoch: int, *, attempts: int, not_before_ms: int, error: str) -> bool:
        """Keep it for later."""
        return await self._write(
            steps.settle_deliveries, steps.Settlement(delivery, epoch, "waiting", attempts, not_before_ms, error)
        )

    async def dead(self, delivery: Delivery, epoch: int, error: str, effects: Sequence[Effect] = ()) -> bool:
        """Give it up; that is one more failed attempt."""
        return await self._write(
            steps.settle_deliveries,
            steps.Settlement(delivery, epoch, "dead", error=error, effects=tuple(effects)),
        )

    # --- callbacks ----------------------------------------------------------------------------------------------

    def outbox(self, partition: int, epoch: int) -> AsyncIterator[Callback]:
        """Unsent callbacks in the order they were stored, then new ones."""
        return self._tails.callbacks.open(partition, epoch)

    async def outbox_done(self, callback: Callback, epoch: int, *, state: CallbackState, answer: str) -> bool:
        """Settle a callback; dead is one more failed attempt."""
        return await self._write(steps.settle_callbacks, steps.Answered(callback, epoch, state, answer=answer))

    async def outbox_park(
        self, callback: Callback, epoch: int, *, attempts: int, not_before_ms: int, answer: str
    ) -> bool:
        """Keep it for a later try."""
        return await self._write(
            steps.settle_callbacks, steps.Answered(callback, epoch, "waiting", attempts, not_before_ms, answer)
        )

    # --- tokens -------------------------------------------------------------------------------------------------

    async def reserve(self, reservation: Reservation) -> bool:
        """Set tokens aside from every cap, or from none."""
        return await self._write(tokens.reserve, reservation)

    async def settle(self, key: str, used: int) -> None:
        """End a reservation of this worker."""
        await self._write(tokens.settle, (key, used))

    async def spent(self, ledger: str) -> tuple[int, int]:
        """(charged, reserved)."""
        return await self._reader.read(views.spent, ledger)

    # --- the operator -------------------------------------------------------------------------------------------

    async def counts(self) -> Counts:
        """How much there is."""
        return await self._reader.read(views.counts)

    async def events(self, *, conversation: str = "", after: int = 0, limit: int = 100) -> list[Stored]:
        """Events in log order."""
        return await self._reader.read(views.events, conversation, after, limit)

    async def event(self, event_id: str) -> Stored | None:
        """One event by its id."""
        return await self._reader.read(views.event, event_id)

    async def deliveries(
        self, *, state: DeliveryState | None = None, conversation: str = "", after: int = 0, limit: int = 100
    ) -> list[Delivery]:
        """Deliveries by log order of their event."""
        return await self._reader.read(views.deliveries, state, conversation, after, limit)

    async def callbacks(
        self, *, state: CallbackState | None = None, conversation: str = "", after: int = 0, limit: int = 100
    ) -> list[Callback]:
        """Callbacks in the order they were stored."""
        return await self._reader.read(views.callbacks, state, conversation, after, limit)

    async def records(self, *, conversation: str = "", after: int = 0, limit: int = 100) -> list[Record]:
        """Cards and inferences in the order they were stored."""
        return await self._reader.read(views.records, conversation, after, limit)

    async def requeue(self, *, event: str, handler: str) -> bool:
        """Send a dead delivery again, behind what waits in its partition."""
        return await self._write(steps.requeue, (event, handler))

    async def requeue_callback(self, key: str) -> bool:
        """Send a dead callback again."""
        return await self._write(steps.requeue_callback, key)

    async def drop(self, *, event: str, handler: str) -> bool:
        """Forget a dead delivery."""
        return await self._write(steps.drop, (event, handler))

    # --- living -------------------------------------------------------------------------------------------------

    async def forget(self, keep_events: float) -> None:
        """Remove what was settled more than `keep_events` seconds ago, a few milliseconds of writing at a time."""
        place, keep_ms = START, int(keep_events * 1000)
        while (place := await self._write(retire, (place, keep_ms))) != START:
            pass

    async def keep_forgetting(self, keep_events: float) -> None:
        """`forget` for ever, 256 times in the time that events are kept."""
        pause = min(max(keep_events / _ROUNDS, 1.0), 60.0)
        while True:
            await self.forget(keep_events)
            await asyncio.sleep(pause)

    async def leave(self) -> None:
        """Give free what this worker owns, and strike it off the list of those that live."""
        # A full disk, or a writer that ended: the others see that our lock is gone.
        with suppress(sqlite3.OperationalError, RuntimeError):
            await self._writer.do(steps.leave, str(self._lock.path))

    async def _write(self, step: Step[A, R], asked: A) -> R:
        try:
            return await self._writer.do(step, asked)
        except sqlite3.DatabaseError as error:
            self._blame(error)
            raise

    def _blame(self, error: sqlite3.DatabaseError) -> None:
        if not isinstance(error, _OF_THE_CALLER):
            self._fault(error)
