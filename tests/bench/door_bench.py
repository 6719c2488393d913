"""Acknowledged webhooks a second, and how long they wait: `python -m tests.bench.door_bench [SECONDS] [ROUNDS]`.

Servers take turns under the same load: a bare aiohttp handler that only verifies the signature, the door in front of
nothing, and the door in front of the whole intake, which parses, matches, writes to SQLite with fsync, counts and logs:
with the shipped handlers, of which one wants a customer's utterance, and with two that want everything. The load runs
in a process of its own (`door_load`). Target: the shipped ones at half of the first or more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from bridge.app import Journals, load_router
from bridge.cli.running import run
from bridge.context import Context
from bridge.core.events import Utterance
from bridge.core.signature import verify_standard
from bridge.errors import SignatureError
from bridge.intake import Intake
from bridge.io.bus import LocalBus
from bridge.io.clock import MachineClock
from bridge.io.http import make_door, open_listener
from bridge.io.logs import LogJournal, set_up_logs
from bridge.io.metrics import Metrics
from bridge.io.sqlite import open_sqlite
from bridge.ports import Accept, Accepted, Mode
from bridge.router import Router
from bridge.settings import Handlers, Http, Logs, Secret, Source
from tests.bench.door_load import SECRET
from tests.bench.report import disk, say

CONNECTIONS = 64
SOURCE = Source(name="bench", scheme="standard", secrets=(Secret(SECRET),))
CLOCK = MachineClock()
TARGET = 0.5
"""Of the bare handler's rate."""
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
async def open_whole(router: Router) -> AsyncIterator[int]:
    """The door, the intake and the engine, on the disk of the current folder; the log as in production, to nowhere."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        set_up_logs(Logs().level, stack.enter_context(os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=disk())))
        engine = await stack.enter_async_context(open_sqlite(folder / "bench.db", clock=CLOCK))
        journal = Journals([LogJournal(), metrics])
        yield await stack.enter_async_context(open_door(Intake(engine, router, LocalBus(), CLOCK, journal), metrics))


def make_greedy() -> Router:
    """Two handlers that want every utterance."""
    router = Router("bench")

    async def handler(_: Utterance, __: Context) -> None:
        """Never runs: only its delivery is written."""

    for name, mode in MODES.items():
        handler.__name__ = name
        router.on(Utterance, mode=mode)(handler)
    return router


MODES: Mapping[str, Mode] = {"newest": "latest", "every": "ordered"}
SHIPPED = "door, intake, SQLite: shipped"
SERVERS: Mapping[str, Server] = {
    "bare aiohttp, verifies only": open_bare,
    "door, nothing behind it": open_door_alone,
    SHIPPED: lambda: open_whole(load_router(Handlers().enabled)),
    "door, intake, SQLite: 2 an event": lambda: open_whole(make_greedy()),
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


async def main(seconds: float = 2.0, rounds: int = 3) -> bool:
    """Rounds in turns, so that what else the machine does meets all alike; medians. Whether the target was met."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SERVERS}
    for turn in range(rounds):
        for name, server in SERVERS.items():
            rows[name].append(await measure(server, seconds, f"r{turn}"))
    middle = {name: partial(_median, found) for name, found in rows.items()}
    bare = next(iter(middle.values()))("rate")
    say(f"{CONNECTIONS} connections, 2.1 KB transcriptions, medians of {rounds} rounds of {seconds:g} s in turns")
    for name, of in middle.items():
        rate = f"{of('rate'):8,.0f}/s {of('rate') / bare:5.2f}x"
        say(f"{name:36}{rate}  p50 {of('p50'):5.1f}  p99 {of('p99'):5.1f} ms  CPU {of('cpu'):4.0f} us each")
    met = middle[SHIPPED]("rate") >= TARGET * bare
    say(f"{'target: 0.50x with the shipped ones':36}{'met' if met else 'MISSED'}")
    return met


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("seconds", nargs="?", type=float, default=2.0)
    asked.add_argument("rounds", nargs="?", type=int, default=3)
    run(main(**vars(asked.parse_args())))
