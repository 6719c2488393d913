"""The writer: one thread, one connection, one transaction for all that waits.

It writes until nothing is left and then waits, so a quiet bridge commits at once and a busy one commits hundreds of
operations with one fsync.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from attrs import Factory, define

from bridge.io.sqlite_news import Watch
from bridge.io.sqlite_turn import A, News, R, Step, Turn, transaction
from bridge.ports import Clock

_BATCH_OPERATIONS = 512
_BATCH_BYTES = 512 * 1024
_POLL = 0.015
"""Seconds between two looks at what other processes wrote, while this one has nothing to write."""

CLOSED = "the engine is closed"

# What one bad operation raises: a number beyond 64 bits, half a surrogate pair, a broken rule of a table.
_OF_ONE_OPERATION = (sqlite3.Error, ValueError, TypeError, OverflowError)


@define
class _Operation:
    step: Step[Any, Any]
    asked: Any
    weight: int
    answer: asyncio.Future[Any]


@define
class _Done:
    """A committed batch, or one operation that failed."""

    turn: Turn | None = None
    answers: list[tuple[asyncio.Future[Any], Any]] = Factory(list)
    failure: Exception | None = None


class Writer:
    """Runs steps in the thread. `tell` hears the news of each commit in the event loop, before the answers go out."""

    def __init__(self, begin: Callable[[int], Turn], clock: Clock, watch: Watch, tell: Callable[[News], None]) -> None:
        self._begin, self._clock, self._watch, self._tell = begin, clock, watch, tell
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[list[_Operation] | None] = SimpleQueue()
        self._asked: list[_Operation] = []
        self._batch: list[_Operation] = []
        self._open = False
        self._ended = asyncio.Event()

    def start(self, fault: Callable[[BaseException], None]) -> None:
        """Start the thread. `fault` is called should it end by an error: nothing can be written any more."""
        self._open = True
        thread = ThreadPoolExecutor(1, "sqlite-writer")
        life = self._loop.run_in_executor(thread, self._live)
        thread.shutdown(wait=False)  # as soon as this life is over
        life.add_done_callback(partial(self._end, fault))

    async def do(self, step: Step[A, R], asked: A, weight: int = 0) -> R:
        """Have `step` done with `asked` and get its answer, durable. Raises what the step raises for it.

        `weight` in bytes counts towards the size of a batch.
        """
        if not self._open:
            raise RuntimeError(CLOSED)
        answer: asyncio.Future[R] = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._hand_over)
        self._asked.append(_Operation(step, asked, weight, answer))
        return await answer

    def _hand_over(self) -> None:
        """All that one turn of the event loop asked for, at once: the thread is woken once, and its first commit holds
        more than the first of them.
        """
        asked, self._asked = self._asked, []
        self._queue.put(asked)

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        if self._open:
            self._open = False
            self._hand_over()
            self._queue.put(None)
        await self._ended.wait()

    # --- in the thread ------------------------------------------------------------------------------------------

    def _live(self) -> None:
        while (batch := self._gather()) is not None:
            self._batch = batch
            done = self._write(batch) if batch else []
            turns = [one.turn for one in done if one.turn]
            for call in [call for turn in turns for call in turn.after]:
                call()
            news = self._watch.news(turns)
            if done or news:
                self._loop.call_soon_threadsafe(self._settle, done, news)

    def _gather(self) -> list[_Operation] | None:
        """All that waits, up to a batch. Empty: nothing came for a while. None: closed."""
        batch: list[_Operation] = []
        weight = 0
        try:
            asked = self._queue.get(timeout=_POLL)
            while asked is not None:
                batch += asked
                weight += sum(operation.weight for operation in asked)
                if len(batch) >= _BATCH_OPERATIONS or weight >= _BATCH_BYTES:
                    return batch
                asked = self._queue.get_nowait()
        except Empty:
            return None if self._loop.is_closed() else batch
        if batch:
            self._queue.put(None)
        return batch or None

    def _write(self, batch: list[_Operation]) -> list[_Done]:
        """Commit a batch. If that fails, each operation has a transaction of its own, so that a bad one fails alone."""
        try:
            return [self._commit(batch)]
        except _OF_ONE_OPERATION as error:
            if len(batch) == 1 or _is_locked(error):
                return [_Done(answers=[(operation.answer, None) for operation in batch], failure=error)]
        return [done for operation in batch for done in self._write([operation])]

    def _commit(self, batch: list[_Operation]) -> _Done:
        kinds: dict[Step[Any, Any], list[_Operation]] = {}
        for operation in batch:
            kinds.setdefault(operation.step, []).append(operation)
        turn = self._begin(self._clock.now_ms())
        done = _Done(turn)
        with transaction(turn.db):
            for step, operations in kinds.items():
                answers = step(turn, [operation.asked for operation in operations])
                done.answers += zip((operation.answer for operation in operations), answers, strict=True)
            turn.close()
        return done

    # --- in the event loop --------------------------------------------------------------------------------------

    def _settle(self, done: list[_Done], news: list[News]) -> None:
        for item in news:
            self._tell(item)
        for one in done:
            for future, answer in one.answers:
                if future.done():
                    continue  # whoever asked was cancelled meanwhile; it is written all the same
                if one.failure is not None:
                    future.set_exception(one.failure)
                else:
                    future.set_result(answer)

    def _end(self, fault: Callable[[BaseException], None], life: asyncio.Future[None]) -> None:
        self._open = False
        self._ended.set()
        while not self._queue.empty():
            self._batch += self._queue.get_nowait() or []
        for operation in (*self._batch, *self._asked):
            if not operation.answer.done():
                operation.answer.set_exception(RuntimeError(CLOSED))
        if error := life.exception():
            fault(error)


def _is_locked(error: Exception) -> bool:
    """Another process holds the file, and has for ten seconds: to try each operation would take as long for each."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
