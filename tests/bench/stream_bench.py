"""CPU of a streamed token, from the gateway's socket to an iterating reader, beside a bare read loop.

`python -m tests.bench.stream_bench [STREAMS] [TOKENS]`. The gateway is a raw server in a process of its own; it sends
each stream one token at a time at the pace of a fast model; what is measured is the CPU time of the reading process
alone. Target for the whole way to the panel: under 40 us a token at 500 streams.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import uvloop
from aiohttp import ClientSession, TCPConnector

from bridge.core.masking import Masked
from bridge.io.clock import MachineClock
from bridge.io.gateway import open_gateway
from bridge.ports import Inference, Message
from bridge.settings import GatewaySettings, Timeouts

PACE = 0.06
"""Seconds between two tokens of one stream."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORDS = ("I", " can", " see", " both", " payments", ",", " same", " shop", ",", " four", " minutes", " apart", ".")
Reader = Callable[[str, int], Awaitable[int]]


def chunk(payload: str) -> bytes:
    """One HTTP chunk with one frame."""
    return f"{len(payload):x}\r\n{payload}\r\n".encode()


def token(n: int) -> bytes:
    """The frame of the n-th token, as large as the real ones."""
    head = '"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o"'
    choice = f'{{"index":0,"delta":{{"content":"{WORDS[n % len(WORDS)]}"}},"finish_reason":null}}'
    return chunk(f'data: {{{head},"choices":[{choice}]}}\n\n')


def serve(tokens: int, told: Connection) -> None:
    """Say the port, then stream to whoever asks, until killed."""
    frames = [token(n) for n in range(tokens)]

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for frame in frames:
            writer.write(frame)
            await asyncio.sleep(PACE)
        writer.write(chunk("data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(stream, "127.0.0.1", 0, backlog=1024)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(listen())


async def bare(url: str, streams: int) -> int:
    """aiohttp as it comes: read, count frames by their ends, know nothing."""

    async def one(session: ClientSession) -> int:
        async with session.post(url + "/v1/chat/completions", data=b"{}") as response:
            return sum([part.count(b"\n\n") async for part in response.content.iter_any()]) - 1

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        return sum(await asyncio.gather(*(one(session) for _ in range(streams))))


async def edge(url: str, streams: int) -> int:
    """Our edge: parsed, decoded, counted by the vocabulary, metered, timed."""
    settings = GatewaySettings(url=url, timeouts=Timeouts(connect=60, first_token=60, between_tokens=60, total=600))
    asked = (Message("user", Masked.literal("Where is my second payment?")),)

    async with open_gateway(settings, clock=MachineClock(), random=lambda: 0.0) as gateway:

        async def one(n: int) -> int:
            async with gateway.open_answer(Inference(f"bench-{n}", "gpt-4o", asked, 10_000)) as stream:
                return len([piece async for piece in stream])

        return sum(await asyncio.gather(*(one(n) for n in range(streams))))


def measure(reader: Reader, url: str, streams: int, tokens: int) -> float:
    """Microseconds of this process's CPU for each token."""

    async def timed() -> float:
        await reader(url, 1)
        began = time.process_time()
        read = await reader(url, streams)
        assert read == streams * tokens, f"{read} tokens came of {streams * tokens}"
        return (time.process_time() - began) / read * 1e6

    return uvloop.run(timed())


def main() -> None:
    """Print both figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("streams", nargs="?", type=int, default=500)
    options.add_argument("tokens", nargs="?", type=int, default=50)
    given = options.parse_args()
    hearing, telling = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(given.tokens, telling), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{hearing.recv()}"
        for name, reader in (("bare read loop", bare), ("gateway edge", edge)):
            cost = measure(reader, url, given.streams, given.tokens)
            print(f"{name}: {cost:.1f} us of CPU a token, {given.streams} streams of {given.tokens}")
    finally:
        server.kill()


if __name__ == "__main__":
    main()
