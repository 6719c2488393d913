"""THE wiring: from settings to a running bridge. Nothing else joins the edges together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from aiohttp import web
from attrs import evolve, field, frozen

from bridge.context import Context, Services
from bridge.core.events import Event
from bridge.core.masking import Kind, Masked, show
from bridge.core.retry import HANDLER_WAITS, Policy
from bridge.core.session import verify_session
from bridge.errors import ConfigError
from bridge.intake import Intake
from bridge.io.clock import MachineClock
from bridge.io.crm import open_destination
from bridge.io.egress import open_egress
from bridge.io.gateway import open_gateway
from bridge.io.genesys import GenesysClient, open_genesys
from bridge.io.hostbus import open_host_bus
from bridge.io.http import make_door, make_health, open_listener
from bridge.io.logs import LogJournal
from bridge.io.metrics import Metrics, make_metrics
from bridge.io.notifications import listen
from bridge.io.panel import Admit, PanelLine, Read, make_panel
from bridge.io.sqlite import open_sqlite
from bridge.outlet import Outlet
from bridge.ports import Bus, Clock, Delivery, Engine, Journal
from bridge.router import Router
from bridge.sender import Sender
from bridge.settings import GenesysSettings, Settings
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
    """A running bridge: what its roles share. `port` is None when it does not listen."""

    settings: Settings
    parts: Parts
    engine: Engine
    router: Router
    bus: Bus
    journal: Journal
    metrics: Metrics
    intake: Intake
    transcripts: Transcripts
    genesys: GenesysClient | None
    port: int | None = None


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
    async with AsyncExitStack() as stack:
        fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bridge = await _open_inside(settings, parts or Parts(), fault, stack)
        tasks: list[Callable[[], Coroutine[Any, Any, None]]] = [partial(_watch, fault)]
        if WORKER in roles:
            tasks.append((await _worker(bridge, stack)).run)
        if "listener" in roles and bridge.genesys and settings.genesys.follow:
            tasks.append(partial(_listen, bridge, bridge.genesys))
        if "web" in roles:
            bridge = evolve(bridge, port=await stack.enter_async_context(open_listener(_web(bridge), settings.http)))
        async with _running(tasks):
            yield bridge


@asynccontextmanager
async def _running(tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> AsyncIterator[None]:
    """The tasks beside the block; one that fails ends the block, and they end with it."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(task()) for task in tasks]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


async def _open_inside(settings: Settings, parts: Parts, fault: asyncio.Future[None], stack: AsyncExitStack) -> Bridge:
    metrics, router = Metrics(), load_router(settings.handlers.enabled)
    journal = Journals([LogJournal(), metrics, *parts.journals])
    engine = await stack.enter_async_context(open_engine(settings, parts.clock, fault))
    bus = await stack.enter_async_context(open_host_bus(f"{settings.engine.path}.bus", clock=OUTSIDE))
    return Bridge(
        settings=settings,
        parts=parts,
        engine=engine,
        router=router,
        bus=bus,
        journal=journal,
        metrics=metrics,
        intake=Intake(engine, router, bus, parts.clock, journal),
        transcripts=Transcripts(engine),
        genesys=await _genesys(settings, parts, stack),
    )


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
    except ModuleNotFoundError as error:
        raise ConfigError([f'handlers.enabled: {name!r}: {error}; write "package.module:router"']) from error
    except (ImportError, AttributeError, NameError, SyntaxError, SystemExit, TypeError, ValueError) as error:
        problem = f"handlers.enabled: {name!r} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError([problem]) from error
    if not isinstance(found, Router):
        raise ConfigError([f"handlers.enabled: {name!r} is a {type(found).__name__}, not a bridge.Router"])
    return found


async def _watch(fault: asyncio.Future[None]) -> None:
    await fault


async def _genesys(settings: Settings, parts: Parts, stack: AsyncExitStack) -> GenesysClient | None:
    if not settings.genesys.client_id:
        return None
    return await stack.enter_async_context(connect_genesys(settings.genesys, parts.chance))


def connect_genesys(
    genesys: GenesysSettings, chance: Callable[[], float] = random.random
) -> AbstractAsyncContextManager[GenesysClient]:
    """Genesys Cloud's API, dialled past the guard: plain http goes only to the networks of `genesys.allow`."""
    public = genesys.api_url.startswith("https:") or not genesys.api_url
    session = open_egress(genesys.allow, public=public)
    return open_genesys(genesys, clock=OUTSIDE, random=chance, session=session)


async def _listen(bridge: Bridge, genesys: GenesysClient) -> None:
    await listen(
        genesys,
        bridge.intake,
        bridge.settings.genesys.follow,
        clock=OUTSIDE,
        random=bridge.parts.chance,
        on_note=bridge.journal.note,
    )


async def _worker(bridge: Bridge, stack: AsyncExitStack) -> Worker:
    services, handlers = await _services(bridge, stack), bridge.settings.handlers

    def make_context(delivery: Delivery, event: Event) -> Context:
        return Context(services, delivery, event)

    return Worker(
        bridge.engine,
        bridge.router,
        make_context,
        await _sender(bridge, stack),
        bridge.parts.clock,
        bridge.journal,
        bridge.parts.chance,
        Policy(HANDLER_WAITS, handlers.tries),
        handlers.timeout,
        bridge.parts.in_order,
    )


async def _services(bridge: Bridge, stack: AsyncExitStack) -> Services:
    settings, parts = bridge.settings, bridge.parts
    return Services(
        engine=bridge.engine,
        gateway=await stack.enter_async_context(open_gateway(settings.gateway, clock=OUTSIDE, random=parts.chance)),
        genesys=bridge.genesys,
        bus=bridge.bus,
        clock=parts.clock,
        journal=bridge.journal,
        transcripts=bridge.transcripts,
        prompts=load_prompts(settings.prompts.path),
        models={model.name: model for model in settings.models},
        model=settings.gateway.model,
        budgets=settings.budgets,
        late_ms=None if parts.in_order else int(settings.cards.late * 1000),
        unmask=_unmasked(settings),
    )


async def _sender(bridge: Bridge, stack: AsyncExitStack) -> Sender:
    outlets = {
        one.name: Outlet(await stack.enter_async_context(open_destination(one, clock=OUTSIDE, egress=open_egress)), one)
        for one in bridge.settings.destinations
    }
    return Sender(bridge.engine, outlets, bridge.parts.clock, bridge.journal, bridge.parts.chance)


def _web(bridge: Bridge) -> web.Application:
    settings = bridge.settings

    def count(source: str, code: str, seconds: float) -> None:
        bridge.metrics.note("webhook", source=source, code=code, answered_ms=seconds * 1000)

    async def ready() -> str:
        await bridge.engine.counts()
        return ""

    panel = make_panel(
        _reader(bridge),
        bridge.bus,
        frame_ancestors=settings.panel.frame_ancestors,
        admit=_admitting(settings),
        clock=OUTSIDE,
    )
    app = web.Application()
    app.add_routes(make_door(settings.webhooks, bridge.intake, settings.http, OUTSIDE, metrics=count))
    app.add_routes([*make_health(ready), *make_metrics(bridge.metrics), *panel])
    app.on_shutdown.append(panel.close)
    return app


def _reader(bridge: Bridge) -> Read:
    unmask = _unmasked(bridge.settings)

    async def read(conversation: str) -> list[PanelLine]:
        transcript = await bridge.transcripts.of(conversation)
        return [
            PanelLine(line.seq, line.event, line.speaker, line.start_ms, show(line.text, transcript.vault, unmask))
            for line in transcript.lines()
        ]

    return read


def _unmasked(settings: Settings) -> frozenset[Kind]:
    return frozenset(Kind(kind) for kind in settings.cards.unmask)


def _admitting(settings: Settings) -> Admit:
    """Who may see a panel: with panel.secret, who has a session for it; without, whoever is on this machine, for
    then nothing else can reach it (`bridge.checks`).
    """
    secret = settings.panel.secret

    def admit(request: web.Request, conversation: str) -> None:
        if secret is not None:
            verify_session(request.query.get("session", ""), conversation, secret.show(), OUTSIDE.now_ms() / 1000)

    return admit
