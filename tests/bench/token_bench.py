"""CPU of a streamed token, from the gateway's socket to the panel's, beside a bare loop that only copies.

`python -m tests.bench.token_bench [STREAMS] [TOKENS] [ROUNDS] [--profile]`. The bridge is the real one: `open_bridge`
with its web and worker roles, the shipped handlers, its log at the default level; only gateway and browsers are ours,
in processes of their own (`token_ends`). Every panel is open and every answer begun before the clock is read, so what
is counted is tokens alone: read, parsed, metered, masked, put on the card, published, framed, written. The bare loop
reads the same streams with aiohttp and writes each piece, as it is, to a socket. Target: under 40 us.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import os
import pstats
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from aiohttp import ClientSession, TCPConnector
from attrs import frozen

from bridge.app import WORKER, open_bridge
from bridge.cli.running import run
from bridge.core.genesys import decode
from bridge.io.logs import set_up_logs
from bridge.settings import Cards, EngineSettings, GatewaySettings, Http, Settings
from tests.bench.door_load import make_event
from tests.bench.report import disk, say
from tests.bench.token_ends import End, open_end, run_browsers, run_gateway

TARGET = 40.0
"""Microseconds a token."""
SETTLE = 0.5
"""Seconds between the last answer's beginning and the first count: what begins an answer shall not count as a token."""


@frozen
class Ends:
    """Both other ends; the gateway's port is known, the browsers wait for theirs."""

    gateway: End
    browsers: End
    url: str
    streams: int


Way = Callable[[Ends], AbstractAsyncContextManager[None]]
"""Opens a way from the gateway to the browsers, with every stream begun."""


@asynccontextmanager
async def open_copying(ends: Ends) -> AsyncIterator[None]:
    """aiohttp as it comes: what is read is written, unread."""
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writers.put_nowait(writer)

    async def copy(session: ClientSession, writer: asyncio.StreamWriter) -> None:
        async with session.post(ends.url + "/v1/chat/completions", data=b"{}") as response:
            async for piece in response.content.iter_any():
                writer.write(piece)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    ends.browsers.tell(server.sockets[0].getsockname()[1])
    await ends.browsers.hear()
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        copying = [asyncio.create_task(copy(session, writers.get_nowait())) for _ in range(ends.streams)]
        await ends.gateway.hear()
        yield
        for task in copying:
            task.cancel()
        await asyncio.gather(*copying, return_exceptions=True)
    server.close()


@asynccontextmanager
async def open_whole(ends: Ends) -> AsyncIterator[None]:
    """The bridge: a customer's utterance in each conversation, an answer to each on its panel."""
    with (
        tempfile.TemporaryDirectory(dir=disk()) as folder,
        os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") as nowhere,
    ):
        settings = Settings(
            http=Http(port=0),
            engine=EngineSettings(path=f"{folder}/bench.db"),
            gateway=GatewaySettings(url=ends.url),
            cards=Cards(late=60.0),
        )
        set_up_logs(settings.logs.level, nowhere)
        async with open_bridge(settings, roles=("web", WORKER)) as bridge:
            ends.browsers.tell(bridge.port)
            await ends.browsers.hear()
            for number in range(ends.streams):
                await bridge.intake(decode(make_event("talk", 40 * number)))
            await ends.gateway.hear()
            yield
        logging.getLogger().handlers.clear()


WAYS: Mapping[str, Way] = {
    "bare loop: aiohttp read, copied": open_copying,
    "bridge: gateway to panel": open_whole,
}


async def measure(way: Way, streams: int, tokens: int, profile: cProfile.Profile | None = None) -> float:
    """Microseconds of this process's CPU for each token."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_end(run_gateway, streams, tokens))
        browsers = await stack.enter_async_context(open_end(run_browsers, streams, tokens))
        ends = Ends(gateway, browsers, f"http://127.0.0.1:{await gateway.hear()}", streams)
        await stack.enter_async_context(way(ends))
        await asyncio.sleep(SETTLE)
        began = time.process_time()
        if profile:
            profile.enable()
        gateway.tell("go")
        await browsers.hear()
        if profile:
            profile.disable()
        return (time.process_time() - began) / (streams * (tokens - 1)) * 1e6


async def main(streams: int = 500, tokens: int = 40, rounds: int = 3, *, profile: bool = False) -> bool:
    """Print the table; with `profile`, where the bridge's time goes instead. Whether the target was met."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8 * streams + 1024), most))
    if profile:
        calls = cProfile.Profile()
        await measure(open_whole, streams, tokens, calls)
        pstats.Stats(calls).sort_stats("tottime").print_stats(50)
        return True
    costs: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            costs[name].append(await measure(way, streams, tokens))
    say(f"{streams} answers at once, {tokens} tokens each, median of {rounds} rounds in turns")
    bare, whole = (statistics.median(rows) for rows in costs.values())
    for name, cost in zip(WAYS, (bare, whole), strict=True):
        say(f"{name:36}{cost:6.1f} us of CPU a token {cost / bare:5.2f}x")
    say(f"{'target: under 40 us':36}{'met' if whole < TARGET else 'MISSED'}")
    return whole < TARGET


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("streams", nargs="?", type=int, default=500)
    asked.add_argument("tokens", nargs="?", type=int, default=40)
    asked.add_argument("rounds", nargs="?", type=int, default=3)
    asked.add_argument("--profile", action="store_true")
    run(main(**vars(asked.parse_args())))
