"""What the gateway's tests share: a raw server that says any bytes, and questions to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from attrs import define, evolve, field

from bridge.core.masking import Masked
from bridge.ports import Answer, Gateway, Inference, Message

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
QUESTION = Inference("key-1", "gpt-4o", (Message("user", Masked.literal("What is the colour of the sky?")),), 200)

Script = Callable[["Line"], Awaitable[None]]


def chunk(payload: bytes) -> bytes:
    return f"{len(payload):x}\r\n".encode() + payload + b"\r\n"


def frame(text: str, finish: str = "") -> bytes:
    reason = f'"{finish}"' if finish else "null"
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{reason}}}]}}\n\n'.encode()


@define
class Line:
    """One connection, with the request that came last over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str = ""
    body: bytes = b""

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def closed(self) -> None:
        """Until the other side has left."""
        while await self.reader.read(1024):
            pass

    async def hear(self) -> bool:
        try:
            self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            self.body = await self.reader.readexactly(int(self.head.lower().partition("content-length:")[2].split()[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True


@define
class RawServer:
    """Answers every request with the script; `connections` and `heads` show what came."""

    script: Script
    connections: int = 0
    heads: list[str] = field(factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(reader, writer)
        try:
            while not writer.is_closing() and await line.hear():
                self.heads.append(line.head)
                await self.script(line)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[RawServer]:
    """A server for one test."""
    raw = RawServer(script)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    async with server:
        raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield raw
        server.close()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """A simulator whose stalled answers end when their reader leaves; gives its URL."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def ask(gateway: Gateway, question: Inference = QUESTION, **changes: Any) -> Answer:
    """The answer to a question, read to its end."""
    async with gateway.open_answer(evolve(question, **changes)) as stream:
        pieces = [piece async for piece in stream]
    assert stream.answer is not None
    assert "".join(pieces) == stream.answer.text
    assert all(pieces)
    return stream.answer


async def until(holds: Callable[[], bool]) -> None:
    """Until sockets have brought about what the test waits for."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - sockets set no events
            await asyncio.sleep(0.001)
