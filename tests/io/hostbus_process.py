"""A process on the host bus, for its tests: python hostbus_process.py FOLDER ROLE [ARGUMENT]…

flood CHANNEL          publishes without pause, and never reads
count CHANNEL MANY     prints "listening", and MANY once as many messages came; "lost" whenever it listens anew
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

from bridge.io.clock import MachineClock
from bridge.io.hostbus import open_host_bus


async def flood(folder: str, channel: str) -> None:
    async with open_host_bus(folder, clock=MachineClock()) as bus:
        tell("flooding")
        while True:
            for _ in range(100):
                bus.publish(channel, b"x" * 1_000, keep=True)
            await asyncio.sleep(0)


async def count(folder: str, channel: str, many: str) -> None:
    async with open_host_bus(folder, clock=MachineClock()) as bus:
        heard, word = 0, "listening"
        while True:
            async with bus.subscribe(channel) as messages:
                tell(word)
                async for _ in messages:
                    heard += 1
                    if heard == int(many):
                        tell(many)
            word = "lost"


def tell(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


ROLES: dict[str, Callable[..., Coroutine[None, None, None]]] = {"flood": flood, "count": count}

if __name__ == "__main__":
    folder, role, *arguments = sys.argv[1:]
    asyncio.run(ROLES[role](folder, *arguments))
