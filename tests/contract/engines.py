"""The engines that the contract is held against, and the words its tests are written in."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from bridge.core.partition import partition_of
from bridge.io.sqlite import open_sqlite
from bridge.ports import Arrival, Callback, Clock, Delivery, Engine, Mode
from bridge.sim.clock import FakeClock

T = TypeVar("T")

OPENERS: Mapping[str, Callable[..., AbstractAsyncContextManager[Engine]]] = {"sqlite": open_sqlite}
PARTITIONS = 8
BOTH: tuple[tuple[str, Mode], ...] = (("assist", "latest"), ("notes", "ordered"))
ONE: tuple[tuple[str, Mode], ...] = (("notes", "ordered"),)


@define
class Store:
    """One engine's store. Calling it opens an engine on it: a worker. Several may be open at once."""

    kind: str
    address: str
    clock: Clock = field(factory=FakeClock)

    def __call__(self, worker: str | None = None, **settings: Any) -> AbstractAsyncContextManager[Engine]:
        given = {"clock": self.clock, "partitions": PARTITIONS, "worker": worker, **settings}
        return OPENERS[self.kind](self.address, **given)

    async def forget(self, engine: Engine, keep_events: float) -> None:
        """Have the engine do now what it does by itself every now and then. No part of the port: nobody calls it."""
        await engine.forget(keep_events)  # type: ignore[attr-defined]

    def is_sound(self) -> bool:
        """Whether the store's own check finds it whole; of a store that has none, nothing is known against it."""
        if self.kind != "sqlite":
            return True
        with closing(sqlite3.connect(self.address)) as db:
            return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    @asynccontextmanager
    async def process(self, role: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process of its own on the same store: engine_process.py in a role. Killed at the end."""
        script = Path(__file__).with_name("engine_process.py")
        command = (sys.executable, str(script), self.kind, self.address, role, *arguments)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def arrival(name: str, conversation: str = "talk", wanted: tuple[tuple[str, Mode], ...] = BOTH) -> Arrival:
    return Arrival(name, conversation, "Utterance", f'{{"said": "{name}"}}'.encode(), 1_000, wanted)


def callback(delivery: Delivery, number: int = 0, payload: bytes = b"{}") -> Callback:
    event = delivery.event
    key = f"{delivery.key}:{number}"
    return Callback(key, event.conversation, delivery.handler, event.id, "crm", "suggestion.shown", payload)


async def take(items: AsyncIterator[T], count: int) -> list[T]:
    """The next `count` items. The limit of time is for engines that lost one: it ends a test that fails."""
    async with asyncio.timeout(5):
        return [await anext(items) for _ in range(count)]


def soon(items: AsyncIterator[T]) -> asyncio.Task[T]:
    """Wait for the next item while the test goes on."""

    async def one() -> T:
        return (await take(items, 1))[0]

    return asyncio.create_task(one())


async def ends(items: AsyncIterator[T]) -> bool:
    """Whether the iterator is at its end."""
    async with asyncio.timeout(5):
        return await anext(items, None) is None


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    async with asyncio.timeout(10):
        return (await process.stdout.readline()).decode().strip()


async def until(fact: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait for another process, which tells nobody, to make `fact` true. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110 - the event is another process's
            await asyncio.sleep(0.01)


async def own(engine: Engine, name: str = "talk") -> tuple[int, int]:
    """Become owner of the conversation's partition: (partition, epoch)."""
    number = partition_of(name, engine.partitions)
    return number, (await engine.acquire([number]))[number]
