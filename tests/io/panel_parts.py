"""What the tests of the panel share: messages, a clock to move, a log to read, and a browser without a face."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from attrs import define, field

from bridge.core.masking.cleared import SEAL, Shown
from bridge.core.sse import Parser, ServerEvent
from bridge.io.bus import LocalBus
from bridge.io.panel import PanelLine
from bridge.io.panel.feeds import Feeds
from bridge.io.panel.live import Live

CALL = "7f3b5a52-1f0e-4b8e-9f6c-0d4c8f6f2b11"


def line(seq: int, text: str = "Hello") -> PanelLine:
    return PanelLine(seq, f"event-{seq}", "customer", 1_000 * seq, Shown(text, seal=SEAL))


def card(text: str, state: str = "open", key: str = "a", based_on: str = "event-1") -> bytes:
    return orjson.dumps({"type": "card", "card": key, "state": state, "text": text, "based_on": [based_on]})


def gateway(state: str) -> bytes:
    return orjson.dumps({"type": "gateway", "state": state, "detail": "refused"})


EVENT = b'{"type":"event"}'


@define
class HandClock:
    """A clock that a test moves."""

    now: float = 0.0
    _asleep: list[tuple[float, asyncio.Future[None]]] = field(init=False, factory=list)

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.get_running_loop().create_future()
        self._asleep.append((self.now + seconds, awake))
        await awake

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [awake for until, awake in self._asleep if until <= self.now and not awake.done()]
        self._asleep = [(until, awake) for until, awake in self._asleep if until > self.now]
        for awake in due:
            awake.set_result(None)
        await settle()


async def settle() -> None:
    """Let everything run that can run without a socket."""
    for _ in range(20):
        await asyncio.sleep(0)


@define
class Screen:
    """What a browser shows after the events it was told."""

    lines: dict[int, str] = field(factory=dict)
    card: dict[str, Any] | None = None
    reachable: bool = True

    def take(self, event: ServerEvent) -> None:
        told = json.loads(event.data)
        match event.event:
            case "reset":
                self.lines, self.card = {one["seq"]: one["text"] for one in told["lines"]}, told["card"]
                self.reachable = told["reachable"]
            case "lines":
                self.lines |= {one["seq"]: one["text"] for one in told}
            case "card":
                self.card = told
            case "more":
                assert self.card
                self.card = self.card | {"text": self.card["text"] + told}
            case "withdrawn":
                self.card = None
            case "model":
                self.reachable = told["reachable"]
            case other:
                pytest.fail(f"an event that the page does not know: {other}")


def screen(*blocks: bytes) -> Screen:
    shown = Screen()
    for event in Parser().feed(b"".join(blocks)):
        shown.take(event)
    return shown


def told(block: bytes) -> list[tuple[str, Any]]:
    return [(event.event, json.loads(event.data)) for event in Parser().feed(block)]


def live_with(lines: Sequence[PanelLine] = (), limit: int = 500) -> Live:
    live = Live(limit)
    live.show(lines)
    return live


@define
class Log:
    """The lines of all conversations; `gate` holds readings up."""

    lines: list[PanelLine] = field(factory=list)
    readings: int = 0
    at_once: int = 0
    gate: asyncio.Event | None = None

    async def read(self, _: str) -> list[PanelLine]:
        self.readings += 1
        self.at_once += 1
        assert self.at_once == 1, "two readings at once"
        if self.gate:
            await self.gate.wait()
        self.at_once -= 1
        return list(self.lines)


@define
class Bench:
    """Feeds with everything they need at hand."""

    clock: HandClock = field(factory=HandClock)
    bus: LocalBus = field(factory=LocalBus)
    log: Log = field(factory=Log)
    limit: int = 2_000
    frames: int = 500
    feeds: Feeds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feeds = Feeds(self.log.read, self.bus, self.clock, self.limit, self.frames)


@asynccontextmanager
async def open_bench(**fields: Any) -> AsyncIterator[Bench]:
    bench = Bench(**fields)
    try:
        yield bench
    finally:
        await bench.feeds.close()


def not_cut() -> None:
    pytest.fail("cut off")
