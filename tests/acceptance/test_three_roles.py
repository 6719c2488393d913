"""The shipped Procfile: web, listener and worker as processes of their own on one file, beside `bridge sim`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from attrs import define, field

from bridge.core.sse import Parser

pytestmark = pytest.mark.slow  # it starts four processes, and plays a call of three minutes at forty times its pace

ROOT = Path(__file__).parents[2]
CALL = ROOT / "config" / "scenarios" / "bank_call.jsonl"
CONVERSATION = orjson.loads(CALL.read_bytes().splitlines()[0])["eventBody"]["conversationId"]
QUEUE = "5caa41bd-fe35-5715-8015-129a3b7fc33e"  # the call's own
SECRET = "whsec_c2VjcmV0IG9mIHRoZSBzaW11bGF0b3Jz"


@define
class Program:
    """A `bridge` command that runs; the lines of both its streams so far."""

    running: asyncio.subprocess.Process
    lines: list[str] = field(factory=list)
    ended: bool = False
    _news: asyncio.Condition = field(factory=asyncio.Condition)

    async def read(self, stream: asyncio.StreamReader | None) -> None:
        """Until it ends: a pipe that nobody reads would stop the program."""
        assert stream is not None
        async for line in stream:
            async with self._news:
                self.lines.append(line.decode())
                self._news.notify_all()
        async with self._news:
            self.ended = True
            self._news.notify_all()

    async def says(self, pattern: str) -> None:
        """Wait for a line that holds the pattern."""
        async with asyncio.timeout(40), self._news:
            await self._news.wait_for(lambda: self.ended or self._has_said(pattern))
        assert self._has_said(pattern), self.lines

    def _has_said(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.lines)


@asynccontextmanager
async def program(*arguments: str, **environ: str) -> AsyncIterator[Program]:
    """Started, and at the end told to stop, which it does in order."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", *arguments,
        cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told = Program(running)
    reading = [asyncio.create_task(told.read(stream)) for stream in (running.stdout, running.stderr)]
    try:
        yield told
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await running.wait() == 0, told.lines
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        await asyncio.gather(*reading)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environ_of(folder: Path, urls: list[str]) -> dict[str, str]:
    return {
        "BRIDGE_CONFIG": str(ROOT / "config" / "sim.toml"),
        "SIM_SECRET": SECRET,
        "SIM_CLIENT_SECRET": "sim-secret",
        "BRIDGE_ENGINE_PATH": str(folder / "bridge.db"),
        "BRIDGE_GENESYS_FOLLOW": f'["queue:{QUEUE}"]',
        "BRIDGE_GENESYS_API_URL": urls[0],
        "BRIDGE_GENESYS_LOGIN_URL": urls[0],
        "BRIDGE_GATEWAY_URL": urls[1],
        "BRIDGE_DESTINATIONS_CRM_URL": f"{urls[2]}/crm",
    }


@define
class Page:
    """What the agent's page shows, from its stream, and how it came to it."""

    lines: dict[int, str] = field(factory=dict)
    card: str = ""
    state: str = ""
    kinds: list[str] = field(factory=list)

    def take(self, kind: str, told: object) -> None:
        self.kinds.append(kind)
        match kind, told:
            case "reset", {"lines": list(lines), "card": card}:
                self.lines = {one["seq"]: one["text"] for one in lines}
                self._place(card or {"text": "", "state": ""})
            case "lines", list(lines):
                self.lines |= {one["seq"]: one["text"] for one in lines}
            case "card", dict(card):
                self._place(card)
            case "more", str(text):
                self.card += text
            case "withdrawn", _:
                self._place({"text": "", "state": ""})

    def _place(self, card: dict[str, str]) -> None:
        self.card, self.state = card["text"], card["state"]


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[Page]:
    """A panel that is open on the web process of that port."""
    page, parser = Page(), Parser()

    async def follow() -> None:
        url = f"http://127.0.0.1:{port}/panel/{CONVERSATION}/stream"
        async with aiohttp.ClientSession() as browser, browser.get(url) as stream:
            assert stream.status == 200
            async for chunk in stream.content.iter_any():
                for event in parser.feed(chunk):
                    page.take(event.event, orjson.loads(event.data))

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        yield page
        following.cancel()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not fact():  # noqa: ASYNC110 - what makes it true is another process
            await asyncio.sleep(0.02)


async def test_the_panel_of_the_web_process_shows_live_what_listener_and_worker_do(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    plays = ("--play", str(CALL), "--speed", "40")
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(program("sim", "--ports", "0", "0", "0", *plays, SIM_SECRET=SECRET))
        await sim.says("waiting for a bridge")
        environ = environ_of(tmp_path, [line.split(": ")[1].strip() for line in sim.lines[:3]])

        async def serve(role: str, port: int = 0) -> None:
            arguments = ("serve", "--role", role)
            serving = program(*arguments, BRIDGE_HTTP_PORT=str(port), **environ)
            await (await stack.enter_async_context(serving)).says('"serving"')

        await serve("web", ports[0])
        await serve("worker")
        page = await stack.enter_async_context(watched(ports[0]))
        await serve("listener")
        await sim.says("played 62 lines")
        await until(lambda: len(page.lines) == 56 and page.state == "ready")
        await serve("web", ports[1])
        async with watched(ports[1]) as late:
            await until(lambda: late.state == "ready" and late.card == page.card and late.lines == page.lines)
    assert page.kinds.count("lines") >= 20  # as they were spoken, not all at once
    assert page.kinds.count("more") >= 3  # and the card as it was written: at this pace most are superseded unseen
    assert list((tmp_path / "bridge.db.bus").iterdir()) == []
