"""How much the embedded engine does on this machine: python -m tests.bench.engine_bench."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from bridge.io.clock import MachineClock
from bridge.io.sqlite import open_sqlite
from bridge.ports import Arrival, Callback, Delivery, Engine, Mode, Reservation

CONCURRENCY = 64
SECONDS = 2.0
WANTED: tuple[tuple[str, Mode], ...] = (("assist.suggest", "latest"), ("summary.note", "ordered"))
ONE = WANTED[1:]
_PAYLOAD = orjson.dumps({"text": "x" * 300})
_SYLLABLES = ["ba", "ke", "lo", "ni", "ru", "sta", "ven", "to", "mi", "ra", "qui", "the", "and", "you", "for"]


def make_body(size: int, chance: random.Random) -> bytes:
    """JSON of about `size` bytes that compresses as an utterance does: made-up words, each with figures of its own."""
    words: list[dict[str, str | float]] = []
    while len(body := orjson.dumps({"id": chance.randbytes(16).hex(), "words": words})) < size:
        word = "".join(chance.choices(_SYLLABLES, k=chance.randint(1, 3)))
        words.append({"word": word, "confidence": round(chance.random(), 4), "offsetMs": chance.randrange(10**6)})
    return body


def make_arrivals(count: int, wanted: tuple[tuple[str, Mode], ...]) -> list[Arrival]:
    """Events of 1,000 conversations, 2.1 KB each."""
    chance = random.Random(1)
    bodies = [make_body(2100, chance) for _ in range(200)]
    run = chance.randbytes(4).hex()
    return [
        Arrival(f"talk-{n % 1000}:communication:{run}-{n}", f"talk-{n % 1000}", "Utterance", bodies[n % 200], n, wanted)
        for n in range(count)
    ]


@asynccontextmanager
async def an_engine(folder: Path) -> AsyncIterator[Engine]:
    """An engine on a file in the folder."""
    async with open_sqlite(folder / "bench.db", clock=MachineClock()) as engine:
        yield engine


async def measure(name: str, callers: int, do: Callable[[], Awaitable[None]]) -> int:
    """Callers that do it over and over for some seconds; says how often and how long each took. How often."""
    took: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()

    async def call() -> None:
        while (start := time.perf_counter()) < began + SECONDS:
            await do()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(call() for _ in range(callers)))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    took.sort()
    p50, p99 = took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3
    rate, each = len(took) / wall, cpu / len(took) * 1e6
    say(f"{name:<48} {rate:6.0f}/s  p50 {p50:6.2f}  p99 {p99:6.2f} ms  {each:4.0f} us CPU each")
    return len(took)


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


async def measure_appends(folder: Path, wanted: tuple[tuple[str, Mode], ...]) -> None:
    """Acknowledged appends a second."""
    events = iter(make_arrivals(200_000, wanted))
    async with an_engine(folder) as engine:

        async def one() -> None:
            await engine.append([next(events)])

        count = await measure(f"append, 64 callers, {len(wanted)} handlers", CONCURRENCY, one)
    size = (folder / "bench.db").stat().st_size
    say(f"{'':<48} {size / count:6.0f} bytes of file each")


async def measure_pipeline(folder: Path) -> None:
    """append -> tail -> finish with one callback, until all is settled."""
    events = iter(make_arrivals(200_000, ONE))
    async with an_engine(folder) as engine:
        owned = await engine.acquire(range(engine.partitions))
        settled: dict[str, asyncio.Future[None]] = {}

        async def settle(one: Delivery) -> None:
            event = one.event
            effect = Callback(f"{one.key}:0", event.conversation, one.handler, event.id, "crm", "noted", _PAYLOAD)
            assert await engine.finish(one, owned[one.partition], [effect])
            settled.pop(one.event.id).set_result(None)

        async def follow(partition: int) -> None:
            running: set[asyncio.Task[None]] = set()
            async for one in engine.tail(partition, owned[partition]):
                running.add(task := asyncio.create_task(settle(one)))
                task.add_done_callback(running.discard)

        async def one() -> None:
            event = next(events)
            waiting = settled[event.id] = asyncio.get_running_loop().create_future()
            await engine.append([event])
            await waiting

        followers = [asyncio.create_task(follow(partition)) for partition in owned]
        count = await measure("append -> tail -> finish + callback, 128 lanes", 2 * CONCURRENCY, one)
        counts = await engine.counts()
        assert (counts.waiting, counts.finished, counts.callbacks_waiting) == (0, count, count)
        await engine.release(owned)
        await asyncio.gather(*followers)


async def measure_reopening(folder: Path) -> None:
    """From opening to the last of 20,000 unfinished events read."""
    events = make_arrivals(20_000, ONE)
    async with an_engine(folder) as engine:
        for start in range(0, len(events), 500):
            await engine.append(events[start : start + 500])
    began = time.perf_counter()
    async with an_engine(folder) as engine:
        owned = await engine.acquire(range(engine.partitions))
        first = time.perf_counter() - began
        left = len(events)

        async def follow(partition: int) -> None:
            nonlocal left
            async for _ in engine.tail(partition, owned[partition]):
                left -= 1
                if not left:
                    await engine.release(owned)

        await asyncio.gather(*map(follow, owned))
        whole = time.perf_counter() - began
        say(f"{'reopen with 20,000 unfinished':<48} {first * 1000:6.0f} ms to own, {whole * 1000:.0f} ms to read all")


async def measure_ledger(folder: Path) -> None:
    """reserve + settle of two caps."""
    async with an_engine(folder) as engine:
        numbers = iter(range(10**9))

        async def one() -> None:
            key = f"k{next(numbers)}"
            assert await engine.reserve(Reservation(key, 10, (("day", 10**15), (f"talk-{key}", 10**6))))
            await engine.settle(key, 7)

        await measure("reserve + settle, two caps, 64 callers", CONCURRENCY, one)


def main() -> None:
    """Print every figure."""
    for part in (
        lambda folder: measure_appends(folder, WANTED),
        lambda folder: measure_appends(folder, ()),
        measure_pipeline,
        measure_reopening,
        measure_ledger,
    ):
        with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
            asyncio.run(part(Path(folder)))


if __name__ == "__main__":
    main()
