"""The two other ends of the token bench, each in a process of its own so that its work does not count as the bridge's.

Both are told what to do, and tell what has happened, over a pipe (`Telling`).
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, cast

import uvloop
from attrs import define, field

from tests.bench.stream_bench import HEAD, PACE, chunk, token

LAST = "done"
"""The last word that reaches the panel: the word after it stays unfinished, and so is not shown."""
PANEL = "/panel/{}/stream"


@define
class End:
    """A process at the other end of a pipe."""

    pipe: Connection

    async def hear(self) -> Any:
        """The next thing it says. Waits in a thread: the event loop goes on."""
        return await asyncio.to_thread(self.pipe.recv)

    def tell(self, what: Any) -> None:
        """Have it go on."""
        self.pipe.send(what)


@asynccontextmanager
async def open_end(run: Callable[[Connection, int, int], None], streams: int, tokens: int) -> AsyncIterator[End]:
    """Start `run` in a process of its own; it ends with the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(theirs, streams, tokens), daemon=True)
    process.start()
    theirs.close()  # so that we hear of it should the process end
    try:
        yield End(ours)
    finally:
        process.kill()
        process.join()


def run_gateway(pipe: Connection, streams: int, tokens: int) -> None:
    """Say the port; take that many posts, give each its first token, and say "posted"; once told, stream the rest."""
    uvloop.run(_serve(End(pipe), streams, tokens))


async def _serve(end: End, streams: int, tokens: int) -> None:
    told, posted = asyncio.Event(), 0
    frames = [token(n) for n in range(tokens)]
    frames[-2:] = [chunk(_frame(f" {LAST}")), chunk(_frame(" now"))]

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posted
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        writer.write(frames[0])
        posted += 1
        offset = PACE * posted / streams  # spread evenly: a gateway's streams do not tick together
        if posted == streams:
            end.tell("posted")
        await told.wait()
        await asyncio.sleep(offset)
        for frame in frames[1:]:
            writer.write(frame)
            await asyncio.sleep(PACE)

    server = await asyncio.start_server(stream, "127.0.0.1", 0, backlog=1024)
    end.tell(server.sockets[0].getsockname()[1])
    await end.hear()
    told.set()
    await server.serve_forever()


def _frame(text: str) -> str:
    return f'data: {{"object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'


def run_browsers(pipe: Connection, streams: int, _: int) -> None:
    """Once told the port, open that many panels and say "opened"; say "seen" when all of them have shown the end."""
    uvloop.run(_watch(End(pipe), streams))


async def _watch(end: End, streams: int) -> None:
    port = await end.hear()
    loop, crowd = asyncio.get_running_loop(), _Crowd(end, streams)
    for number in range(streams):
        await loop.create_connection(partial(_Browser, crowd, PANEL.format(f"talk-{number}")), "127.0.0.1", port)
    await asyncio.get_running_loop().create_future()


@define
class _Crowd:
    """Counts the browsers that have come so far."""

    end: End
    size: int
    opened: int = field(init=False, default=0)
    seen: int = field(init=False, default=0)

    def open(self) -> None:
        self.opened += 1
        if self.opened == self.size:
            self.end.tell("opened")

    def see(self) -> None:
        self.seen += 1
        if self.seen == self.size:
            self.end.tell("seen")


@define(eq=False)
class _Browser(asyncio.Protocol):
    crowd: _Crowd
    path: str
    _silent: bool = field(init=False, default=True)
    _end: bytes = field(init=False, default=b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asked = f"GET {self.path} HTTP/1.1\r\nhost: bridge\r\n\r\n".encode()
        cast("asyncio.WriteTransport", transport).write(asked)  # uvloop's do not inherit from it

    def data_received(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            self.crowd.open()
        text = self._end + data
        if LAST.encode() in text:
            self.crowd.see()
        self._end = text[-len(LAST) :] if LAST.encode() not in text else b""
