"""A worker process for the contract's tests: python engine_process.py KIND ADDRESS ROLE [ARGUMENT]…

append PREFIX   appends events without end and prints the ids of each batch once the engine has acknowledged it
hold            owns every partition, prints "holding", and beats until it is killed
work NAME       owns its share of the partitions, finishes what comes, and prints each delivery's key
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from itertools import count

from engines import Store, arrival, callback

from bridge.core.partition import wanted
from bridge.io.clock import MachineClock
from bridge.ports import Engine

BEAT = 0.05


async def append(store: Store, prefix: str) -> None:
    async with store() as engine:
        for number in count():
            batch = [arrival(f"{prefix}-{number}-{place}", f"talk-{place}") for place in range(8)]
            tell(*[one.id for one in await engine.append(batch)])


async def hold(store: Store) -> None:
    async with store("holder", lease=0.4) as engine:
        await engine.acquire(range(engine.partitions))
        await engine.beat()
        tell("holding")
        while True:
            await asyncio.sleep(BEAT)
            await engine.beat()


async def work(store: Store, name: str) -> None:
    async with store(name) as engine, asyncio.TaskGroup() as tasks:
        while True:
            share = wanted(name, await engine.beat(), engine.partitions)
            missing = {part for part, owner in (await engine.owners()).items() if part in share and owner != name}
            for partition, epoch in (await engine.acquire(missing)).items():
                tasks.create_task(serve(engine, partition, epoch))
            await asyncio.sleep(BEAT)


async def serve(engine: Engine, partition: int, epoch: int) -> None:
    async for delivery in engine.tail(partition, epoch):
        if await engine.finish(delivery, epoch, [callback(delivery)]):
            tell(delivery.key)


def tell(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


ROLES: dict[str, Callable[..., Awaitable[None]]] = {"append": append, "hold": hold, "work": work}

if __name__ == "__main__":
    kind, address, role, *arguments = sys.argv[1:]

    async def play() -> None:
        await ROLES[role](Store(kind, address, MachineClock()), *arguments)

    asyncio.run(play())
