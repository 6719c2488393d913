"""Acknowledged webhooks a second, and how long they wait: `python -m tests.bench.door_bench [SECONDS] [ROUNDS]`.

Three servers take turns under the same load: a bare aiohttp handler that only verifies the signature, the door in front
of nothing, and the door in front of the whole intake: parsed, structured, matched to two handlers, written to SQLite
with fsync, counted. The load runs in a process of its own (`door_load`). Target: the last at half of the first or more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from bridge.context import Context
from bridge.core.events import Utterance
from bridge.core.signature import verify_standard
from bridge.errors import SignatureError
from bridge.intake import Intake
from bridge.io.bus import LocalBus
from bridge.io.clock import MachineClock
from bridge.io.http import make_door, open_listener
from bridge.io.metrics import Metrics
from bridge.io.sqlite import open_sqlite
from bridge.ports import Accept, Accepted
from bridge.router import Router
from bridge.settings import Http, Secret, Source
from tests.bench.door_load import SECRET

CONNECTIONS = 64
SOURCE = Source(name="bench", scheme="standard", secrets=(Secret(SECRET),))
CLOCK = MachineClock()
Server = Callable[[], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def open_bare() -> AsyncIterator[int]:
    """aiohttp as it comes, its access log off."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            verify_standard(request.raw_headers, body, [SECRET], CLOCK.now_ms() / 1000)
        except SignatureError:
            return web.Response(status=401)
        return web.Response(status=202, body=b"{}", content_type="application/json")

    app = web.Application()
    app.router.add_post("/webhooks/bench", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@asynccontextmanager
async def open_door(accept: Accept, metrics: Metrics) -> AsyncIterator[int]:
    """The door as `bridge serve` opens it."""

    def count(source: str, code: str, seconds: float) -> None:
        metrics.note("webhook", source=source, code=code, answered_ms=seconds * 1000)

    app, http = web.Application(), Http(port=0)
    app.add_routes(make_door([SOURCE], accept, http, CLOCK, metrics=count))
    async with open_listener(app, http, shutdown=0.1) as port:
        yield port


@asynccontextmanager
async def open_door_alone() -> AsyncIterator[int]:
    """The door, with nothing behind it."""

    async def accept(envelope: Mapping[str, Any]) -> Accepted:  # noqa: ARG001 - nothing is behind this door
        return Accepted("nothing-is-kept", duplicate=False)

    async with open_door(accept, Metrics()) as port:
        yield port


@asynccontextmanager
async def open_whole() -> AsyncIterator[int]:
    """The door, the intake and the engine, on the disk of the current folder."""
    router, metrics = Router("bench"), Metrics()

    async def handler(_: Utterance, __: Context) -> None:
        """Never runs: only its delivery is written."""

    handler.__name__ = "newest"
    router.on(Utterance, mode="latest")(handler)
    handler.__name__ = "every"
    router.on(Utterance)(handler)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        engine = await stack.enter_async_context(open_sqlite(folder / "bench.db", clock=CLOCK))
        yield await stack.enter_async_context(open_door(Intake(engine, router, LocalBus(), CLOCK, metrics), metrics))


SERVERS: Mapping[str, Server] = {
    "bare aiohttp, verifies only": open_bare,
    "the door, nothing behind it": open_door_alone,
    "the door, intake, SQLite": open_whole,
}


async def measure(server: Server, seconds: float, run: str) -> dict[str, float]:
    """One round with one server."""
    async with server() as port:
        load = [sys.executable, "-m", "tests.bench.door_load", str(port), str(seconds), str(CONNECTIONS), run]
        child = await asyncio.create_subprocess_exec(*load, stdout=asyncio.subprocess.PIPE)
        began = time.process_time()
        printed, _ = await child.communicate()
        spent = time.process_time() - began
        if child.returncode:
            raise SystemExit(child.returncode)
        figures: dict[str, float] = json.loads(printed)
        return {**figures, "cpu": 1e6 * spent / figures["count"]}


async def main(seconds: float = 3.0, rounds: int = 3) -> None:
    """Rounds in turns, so that what else the machine does meets all alike; each server's best round counts."""
    best: dict[str, dict[str, float]] = {}
    for turn in range(rounds):
        for name, server in SERVERS.items():
            figures = await measure(server, seconds, f"r{turn}")
            best[name] = max(figures, best.get(name, figures), key=lambda one: one["rate"])
    first = next(iter(best.values()))["rate"]
    print(f"{CONNECTIONS} connections, 2.1 KB transcriptions, best of {rounds} rounds of {seconds:g} s")  # noqa: T201 - it prints
    for name, one in best.items():
        rate = f"{one['rate']:8,.0f}/s {one['rate'] / first:5.2f}x"
        wait = f"p50 {one['p50']:5.1f} ms  p99 {one['p99']:5.1f} ms"
        print(f"{name:30}{rate}  {wait}  CPU {one['cpu']:4.0f} us a webhook")  # noqa: T201 - it prints


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("seconds", nargs="?", type=float, default=3.0)
    asked.add_argument("rounds", nargs="?", type=int, default=3)
    uvloop.run(main(**vars(asked.parse_args())))
