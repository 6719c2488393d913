"""A worker with everything real around it but the model: the words that the tests of the spine are written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field

from bridge.context import Context, Services
from bridge.core.codec import dump
from bridge.core.events import Event, Utterance
from bridge.core.masking import Kind, Masked
from bridge.core.prompts import Prompt, parse_prompt
from bridge.io.bus import LocalBus
from bridge.io.sqlite import open_sqlite
from bridge.outlet import Outlet
from bridge.ports import (
    Answer,
    Appended,
    Arrival,
    Callback,
    Delivery,
    Engine,
    Gateway,
    Inference,
    Outcome,
    Record,
    Reply,
    Usage,
)
from bridge.router import Router
from bridge.sender import Sender
from bridge.settings import Budgets, DestinationSettings, Model
from bridge.sim.clock import FakeClock
from bridge.transcripts import Transcripts
from bridge.worker import Worker

PARTITIONS = 4
SUGGEST = parse_prompt(
    "suggest",
    {
        "system": "You help.",
        "user": "<transcript>\n{{ transcript }}</transcript>\n<question>{{ question }}</question>",
        "max_tokens": 20,
    },
)
SUMMARY = parse_prompt("summary", {"system": "Sum up.", "user": "<transcript>\n{{ transcript }}</transcript>"})


async def until(fact: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for what the engine's threads bring about. The limit only ends a test that fails."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 - a thread tells no event of this loop
            await asyncio.sleep(0.001)


def said(name: str, text: str = "hello there, my friend", *, conversation: str = "talk", **others: Any) -> Utterance:
    told: dict[str, Any] = {
        "speaker": "customer", "communication": "leg", "start_ms": 1_000, "end_ms": 2_000, "at_ms": 2_100, **others,
    }  # fmt: skip
    return Utterance(id=name, conversation=conversation, utterance=name, text=text, **told)


@define
class Notes:
    """A journal that remembers. Implements `ports.Journal`."""

    taken: list[tuple[str, Mapping[str, Any]]] = field(factory=list)

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        self.taken.append((action, fields))

    def of(self, action: str) -> list[Mapping[str, Any]]:
        return [fields for one, fields in self.taken if one == action]


@define
class FakeGateway:
    """Streams `pieces`, each once its `gate` is open. Implements `ports.Gateway`; `left` counts the streams closed."""

    pieces: Sequence[str] = ("Let me look, ", "and tell you.")
    outcome: Outcome = "complete"
    refusal: Exception | None = None
    usage: Usage = field(factory=lambda: Usage(40, 7))
    gates: dict[int, asyncio.Event] = field(factory=dict)
    asked: list[Inference] = field(factory=list)
    left: int = 0

    def hold(self, piece: int) -> asyncio.Event:
        """Let the piece of that number wait for the event."""
        return self.gates.setdefault(piece, asyncio.Event())

    @asynccontextmanager
    async def open_answer(self, inference: Inference) -> AsyncIterator[FakeStream]:
        self.asked.append(inference)
        if self.refusal is not None:
            raise self.refusal
        stream = FakeStream(self)
        try:
            yield stream
        finally:
            await asyncio.sleep(0)
            stream.answer = stream.answer or stream.end("incomplete")
            self.left += 1

    def sent(self) -> str:
        """All that left for the model."""
        return "\n".join(message.content.text for one in self.asked for message in one.messages)


@define
class FakeStream:
    gateway: FakeGateway
    answer: Answer | None = None
    said: list[str] = field(factory=list)

    async def __aiter__(self) -> AsyncIterator[str]:
        for number, piece in enumerate(self.gateway.pieces):
            if gate := self.gateway.gates.get(number):
                await gate.wait()
            self.said.append(piece)
            yield piece
        self.answer = self.end(self.gateway.outcome)

    def end(self, outcome: Outcome) -> Answer:
        return Answer("".join(self.said), outcome, "gpt-4o-mini", self.gateway.usage, "gateway", 12.0, 34.0)


@define
class FakeCrm:
    """A destination: answers with what is left of `replies`, then with 200. Implements `ports.Destination`."""

    replies: list[Reply] = field(factory=list)
    got: list[Callback] = field(factory=list)
    gate: asyncio.Event | None = None
    under_way: int = 0
    most: int = 0

    async def send(self, callback: Callback) -> Reply:
        self.got.append(callback)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return self.replies.pop(0) if self.replies else Reply(200)
        finally:
            self.under_way -= 1

    @property
    def keys(self) -> list[str]:
        return [callback.key for callback in self.got]


@define
class Stand:
    """One worker's world. Its parts may be changed before `working()`."""

    engine: Engine
    clock: FakeClock
    router: Router = field(factory=lambda: Router("h"))
    gateway: Gateway = field(factory=FakeGateway)
    crm: FakeCrm = field(factory=FakeCrm)
    outlets: dict[str, Outlet] = field(factory=dict)
    notes: Notes = field(factory=Notes)
    bus: LocalBus = field(factory=LocalBus)
    prompts: dict[str, Prompt] = field(factory=lambda: {"suggest": SUGGEST, "summary": SUMMARY})
    models: dict[str, Model] = field(factory=dict)
    budgets: Budgets = field(factory=Budgets)
    late_ms: int | None = None
    unmask: frozenset[Kind] = frozenset()

    def services(self) -> Services:
        return Services(
            engine=self.engine,
            gateway=self.gateway,
            genesys=None,
            bus=self.bus,
            clock=self.clock,
            journal=self.notes,
            transcripts=Transcripts(self.engine),
            prompts=self.prompts,
            models=self.models,
            model="gpt-4o-mini",
            budgets=self.budgets,
            late_ms=self.late_ms,
            unmask=self.unmask,
        )

    def sender(self) -> Sender:
        if not self.outlets:
            self.outlets["crm"] = outlet(self.crm)
        return Sender(self.engine, self.outlets, self.clock, self.notes, lambda: 1.0)

    def worker(self, **settings: Any) -> Worker:
        services = self.services()
        return Worker(
            self.engine,
            self.router,
            lambda delivery, event: Context(services, delivery, event),
            self.sender(),
            self.clock,
            self.notes,
            lambda: 1.0,
            **settings,
        )

    @asynccontextmanager
    async def working(self, **settings: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A worker at work, which owns its partitions when this is entered."""
        before = len(self.notes.of("acquired"))
        task = asyncio.create_task(self.worker(**settings).run())
        try:
            await until(lambda: task.done() or len(self.notes.of("acquired")) > before)
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def tell(self, *events: Event, wanted: tuple[tuple[str, Any], ...] | None = None) -> list[Appended]:
        """Store events, together, for the handlers that want them."""
        arrivals = []
        for event in events:
            kind, body = dump(event)
            routes = tuple((route.name, route.mode) for route in self.router.match(event))
            given = routes if wanted is None else wanted
            arrivals.append(Arrival(event.id, event.conversation, kind, body, self.clock.now_ms(), given))
        return await self.engine.append(arrivals)

    async def noted(self, action: str, times: int = 1) -> None:
        """Wait until the journal holds the action so many times."""
        await until(lambda: len(self.notes.of(action)) >= times)

    async def parked(self, seconds: float) -> None:
        """Wait until somebody sleeps that long on the clock."""
        await until(lambda: any(abs(wait - seconds) < 1e-6 for wait in self.clock.waits))

    async def delivery(self, event: str, handler: str = "h.on_said") -> Delivery:
        """One delivery, whatever its state."""
        found = await self.engine.deliveries(limit=1_000)
        return next(one for one in found if (one.event.id, one.handler) == (event, handler))

    async def cards(self) -> list[Record]:
        return [one for one in await self.engine.records() if one.kind == "card"]


@asynccontextmanager
async def open_stand(
    folder: Path, *, clock: FakeClock | None = None, worker: str | None = None, **parts: Any
) -> AsyncIterator[Stand]:
    clock = clock or FakeClock()
    async with open_sqlite(folder / "bridge.db", partitions=PARTITIONS, clock=clock, worker=worker) as engine:
        yield Stand(engine, clock, **parts)


def outlet(destination: FakeCrm, name: str = "crm", **settings: Any) -> Outlet:
    return Outlet(destination, DestinationSettings(name=name, url="https://crm.example", **settings))


@asynccontextmanager
async def listening(bus: LocalBus, conversation: str = "talk") -> AsyncIterator[Callable[[], list[dict[str, Any]]]]:
    """What the panel is told: call it for the messages so far."""
    heard: list[dict[str, Any]] = []

    async def listen(messages: AsyncIterator[bytes]) -> None:
        async for message in messages:
            heard.append(orjson.loads(message))  # noqa: PERF401 - it never ends

    async with bus.subscribe(conversation) as messages:
        task = asyncio.create_task(listen(messages))
        try:
            yield lambda: heard
        finally:
            task.cancel()
            await asyncio.wait({task})
