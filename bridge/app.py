"""THE wiring: from settings to a running bridge. Nothing else joins the edges together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal

from aiohttp import web
from attrs import field, frozen

from bridge.context import Context, Services
from bridge.core.events import Event
from bridge.core.masking import Kind, Masked, show
from bridge.core.retry import HANDLER_WAITS, Policy
from bridge.errors import ConfigError
from bridge.intake import Intake
from bridge.io.bus import LocalBus
from bridge.io.clock import MachineClock
from bridge.io.crm import open_destination
from bridge.io.egress import open_egress
from bridge.io.gateway import open_gateway
from bridge.io.genesys import GenesysClient, open_genesys
from bridge.io.http import make_door, make_health, open_listener
from bridge.io.logs import LogJournal
from bridge.io.metrics import Metrics, make_metrics
from bridge.io.notifications import listen
from bridge.io.panel import PanelLine, make_panel
from bridge.io.sqlite import open_sqlite
from bridge.ports import Clock, Delivery, Engine, Genesys, Journal
from bridge.router import Router
from bridge.sender import Outlet, Sender
from bridge.settings import Settings
from bridge.shipped import load_prompts
from bridge.transcripts import Transcripts
from bridge.worker import Worker

Role = Literal["web", "listener", "worker"]
WORKER: Role = "worker"
ROLES: tuple[Role, ...] = ("web", "listener", WORKER)
OUTSIDE = MachineClock()
"""What other machines see (signatures, timeouts, tokens) goes by the machine's clock, also in a replay."""


@frozen(kw_only=True)
class Parts:
    """What a replay, a demo or a test puts in the place of the machine's own.

    `in_order`: `latest` lanes run every delivery in order and no card is late, so that a replay without a clock
    repeats exactly.
    """

    clock: Clock = field(factory=MachineClock)
    chance: Callable[[], float] = random.random
    journals: Sequence[Journal] = ()
    in_order: bool = False


@frozen(kw_only=True)
class Bridge:
    """A running bridge. `port` is None when it does not listen."""

    settings: Settings
    engine: Engine
    intake: Intake
    router: Router
    transcripts: Transcripts
    bus: LocalBus
    port: int | None


@frozen
class Journals:
    """Several journals as one."""

    journals: Sequence[Journal]

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        """Tell each."""
        for journal in self.journals:
            journal.note(action, **fields)


@asynccontextmanager
async def open_bridge(
    settings: Settings, *, roles: Collection[Role] = ROLES, parts: Parts | None = None
) -> AsyncIterator[Bridge]:
    """Everything running until the block is left. Raises ConfigError; an engine that fails ends the block."""
    parts = parts or Parts()
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        journal = Journals([LogJournal(), metrics, *parts.journals])
        router = load_router(settings.handlers.enabled)
        fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        engine = await stack.enter_async_context(open_engine(settings, parts.clock, fault))
        genesys = await _genesys(settings, parts, stack)
        bus = LocalBus()
        transcripts = Transcripts(engine)
        intake = Intake(engine, router, bus, parts.clock, journal)
        tasks = [_watch(fault)]
        port = None
        if "worker" in roles:
            services = await _services(settings, parts, stack, engine, genesys, bus, journal, transcripts)
            tasks.append(
                _worker(settings, parts, services, router, await _sender(settings, parts, stack, engine, journal)).run()
            )
        if "listener" in roles and genesys is not None and settings.genesys.follow:
            tasks.append(
                listen(
                    genesys,
                    intake,
                    settings.genesys.follow,
                    clock=OUTSIDE,
                    random=parts.chance,
                    on_note=journal.note,
                )
            )
        if "web" in roles:
            app = _web(settings, parts, intake, metrics, engine, transcripts, bus)
            port = await stack.enter_async_context(open_listener(app, settings.http))
        bridge = Bridge(
            settings=settings,
            engine=engine,
            intake=intake,
            router=router,
            transcripts=transcripts,
            bus=bus,
            port=port,
        )
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
            try:
                yield bridge
            finally:
                for task in running:
                    task.cancel()


def open_engine(
    settings: Settings, clock: Clock | None = None, fault: asyncio.Future[None] | None = None
) -> AbstractAsyncContextManager[Engine]:
    """The embedded engine that the settings name; a fault of its writer ends up in `fault`."""
    engine = settings.engine

    def failed(error: BaseException) -> None:
        if fault is not None and not fault.done():
            fault.get_loop().call_soon_threadsafe(fault.set_exception, error)

    return open_sqlite(
        engine.path,
        partitions=engine.partitions,
        clock=clock or MachineClock(),
        lease=engine.lease,
        keep_events=engine.keep_events,
        on_fault=failed,
    )


def load_router(names: Sequence[str]) -> Router:
    """One router of those that the settings name (`package.module:attribute`) and those that packages bring along
    (entry points of the group `bridge.handlers`). Raises ConfigError.
    """
    router = Router("bridge")
    for name in [*names, *(point.value for point in entry_points(group="bridge.handlers"))]:
        router.include(_import_router(name))
    return router


def _import_router(name: str) -> Router:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute or "router")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError([f'handlers.enabled: {name!r}: {error}; write "package.module:router"']) from error
    if not isinstance(found, Router):
        raise ConfigError([f"handlers.enabled: {name!r} is a {type(found).__name__}, not a bridge.Router"])
    return found


async def _watch(fault: asyncio.Future[None]) -> None:
    await fault


async def _genesys(settings: Settings, parts: Parts, stack: AsyncExitStack) -> GenesysClient | None:
    if not settings.genesys.client_id:
        return None
    return await stack.enter_async_context(open_genesys(settings.genesys, clock=OUTSIDE, random=parts.chance))


async def _services(  # noqa: PLR0913 - the wiring names every part once
    settings: Settings,
    parts: Parts,
    stack: AsyncExitStack,
    engine: Engine,
    genesys: Genesys | None,
    bus: LocalBus,
    journal: Journal,
    transcripts: Transcripts,
) -> Services:
    return Services(
        engine=engine,
        gateway=await stack.enter_async_context(open_gateway(settings.gateway, clock=OUTSIDE, random=parts.chance)),
        genesys=genesys,
        bus=bus,
        clock=parts.clock,
        journal=journal,
        transcripts=transcripts,
        prompts=load_prompts(settings.prompts.path),
        models={model.name: model for model in settings.models},
        model=settings.gateway.model,
        budgets=settings.budgets,
        late_ms=None if parts.in_order else int(settings.cards.late * 1000),
        unmask=frozenset(Kind(kind) for kind in settings.cards.unmask),
    )


async def _sender(settings: Settings, parts: Parts, stack: AsyncExitStack, engine: Engine, journal: Journal) -> Sender:
    outlets = {
        one.name: Outlet(await stack.enter_async_context(open_destination(one, clock=OUTSIDE, egress=open_egress)), one)
        for one in settings.destinations
    }
    return Sender(engine, outlets, parts.clock, journal, parts.chance)


def _worker(settings: Settings, parts: Parts, services: Services, router: Router, sender: Sender) -> Worker:
    def make_context(delivery: Delivery, event: Event) -> Context:
        return Context(services, delivery, event)

    return Worker(
        services.engine,
        router,
        make_context,
        sender,
        parts.clock,
        services.journal,
        parts.chance,
        Policy(HANDLER_WAITS, settings.handlers.tries),
        settings.handlers.timeout,
        parts.in_order,
    )


def _web(  # noqa: PLR0913 - the wiring names every part once
    settings: Settings,
    parts: Parts,
    intake: Intake,
    metrics: Metrics,
    engine: Engine,
    transcripts: Transcripts,
    bus: LocalBus,
) -> web.Application:
    unmask = frozenset(Kind(kind) for kind in settings.cards.unmask)

    def count(source: str, code: str, seconds: float) -> None:
        metrics.note("webhook", source=source, code=code, answered_ms=seconds * 1000)

    async def read(conversation: str) -> list[PanelLine]:
        transcript = await transcripts.of(conversation)
        return [
            PanelLine(line.seq, line.event, line.speaker, line.start_ms, show(line.text, transcript.vault, unmask))
            for line in transcript.lines()
        ]

    async def ready() -> str:
        await engine.counts()
        return ""

    app = web.Application()
    app.add_routes(make_door(settings.webhooks, intake, settings.http, OUTSIDE, metrics=count))
    app.add_routes(make_health(ready))
    app.add_routes(make_metrics(metrics))
    app.add_routes(
        make_panel(read, bus, frame_ancestors=settings.panel.frame_ancestors, admit=_admit, clock=parts.clock)
    )
    return app


def _admit(request: web.Request, conversation: str) -> None:
    """Who may see a panel: for now whoever can reach it, since it listens on loopback only."""
