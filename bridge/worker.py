"""The worker: owns partitions, runs lanes of handlers and of callbacks, settles what they did.

A delivery ends as finished, superseded or dead; until then it is parked and tried again, and its lane waits.
Whatever a handler wants done outside is stored with its settlement, in one step that only the owner can make.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from bridge.cards import CardExpired
from bridge.context import Context, MakeContext
from bridge.core.codec import load
from bridge.core.events import Event
from bridge.core.masking import Vault, hide
from bridge.core.partition import wanted
from bridge.core.retry import HANDLER_WAITS, Policy, delay
from bridge.errors import BudgetError, Later, PayloadError, UpstreamError
from bridge.lanes import Lane, Lanes, first_of
from bridge.ports import Clock, Delivery, DeliveryState, Effect, Engine, Journal
from bridge.router import Route, Router
from bridge.sender import Sender

PROBE_SECONDS = 0.1
PATIENT = Policy(HANDLER_WAITS, tries=5)


@frozen
class Settled:
    """The delivery is over. `error` is what is stored, `why` what the log may tell of it."""

    state: DeliveryState
    effects: Sequence[Effect] = ()
    error: str = ""
    why: str = ""


@frozen
class Parked:
    """It is to run again at `seconds` from now; `attempts` counts failures, not wishes."""

    seconds: float
    attempts: int
    error: str
    why: str


@define
class Worker:
    """Runs until cancelled.

    `timeout` of one run, in seconds. `in_order`: run `latest` lanes in order too, as a replay does that must repeat.
    `at_once`: so many handlers run beside each other; a backlog of many conversations would else open as many sockets.
    """

    engine: Engine
    router: Router
    make_context: MakeContext
    sender: Sender
    clock: Clock
    journal: Journal
    chance: Callable[[], float]
    policy: Policy = PATIENT
    timeout: float = 120.0
    in_order: bool = False
    at_once: int = 500
    _slots: asyncio.Semaphore = field(init=False)
    _held: dict[int, tuple[int, asyncio.Task[None]]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.at_once)

    async def run(self) -> None:
        """Take the partitions that are this worker's share, work on them, give back what is no longer."""
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self._balance(group)
                    await self.clock.sleep(PROBE_SECONDS)
            finally:
                await self._give_back(set(self._held))

    async def _balance(self, group: asyncio.TaskGroup) -> None:
        alive = await self.engine.beat()
        share = wanted(self.engine.worker, alive, self.engine.partitions)
        await self._give_back({part for part, (_, task) in self._held.items() if part not in share or task.done()})
        missing = share - set(self._held)
        if not missing:
            return
        owners = await self.engine.owners()
        free = {part for part in missing if owners.get(part) not in alive - {self.engine.worker}}
        if not free:
            return
        for part, epoch in (await self.engine.acquire(free)).items():
            self._held[part] = (epoch, group.create_task(self._own(part, epoch)))
        self.journal.note("acquired", partitions=len(free), workers=len(alive))

    async def _give_back(self, parts: set[int]) -> None:
        given = {part: self._held.pop(part) for part in parts}
        for _, task in given.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in given.values()), return_exceptions=True)
        if given:
            await self.engine.release({part: epoch for part, (epoch, _) in given.items()})

    async def _own(self, partition: int, epoch: int) -> None:
        """Everything of one partition. Ends when another owner has taken over."""
        try:
            await self._work_on(partition, epoch)
        except* Fenced:
            self.journal.note("fenced", partition=partition, level="warning")

    async def _work_on(self, partition: int, epoch: int) -> None:
        """Never returns: raises Fenced, which stops what runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sender.run(partition, epoch))
            lanes = Lanes[Delivery](lambda delivery, lane: self._settle(delivery, lane, epoch), group)
            async for delivery in self.engine.tail(partition, epoch):
                lanes.put((delivery.handler, delivery.event.conversation), delivery)
            raise Fenced

    async def _settle(self, delivery: Delivery, lane: Lane[Delivery], epoch: int) -> None:
        """Run a delivery until it is over."""
        await self._pause(delivery, lane, max(0.0, (delivery.not_before_ms - self.clock.now_ms()) / 1000))
        while isinstance(outcome := await self._attempt(delivery, lane), Parked):
            delivery = evolve(
                delivery, attempts=outcome.attempts, not_before_ms=self.clock.now_ms() + int(outcome.seconds * 1000)
            )
            self._note(delivery, "parked", why=outcome.why, seconds=outcome.seconds)
            await self.engine.park(
                delivery, epoch, attempts=delivery.attempts, not_before_ms=delivery.not_before_ms, error=outcome.error
            )
            await self._pause(delivery, lane, outcome.seconds)
        if outcome.state == "dead":
            ok = await self.engine.dead(delivery, epoch, outcome.error, outcome.effects)
        else:
            ok = await self.engine.finish(delivery, epoch, outcome.effects, state=outcome.state)
        self._note(delivery, outcome.state if ok else "fenced", why=outcome.why)

    async def _pause(self, delivery: Delivery, lane: Lane[Delivery], seconds: float) -> None:
        if seconds <= 0:
            return
        if self._latest(delivery):
            await first_of(self.clock.sleep(seconds), lane.newer.wait())
        else:
            await self.clock.sleep(seconds)

    async def _attempt(self, delivery: Delivery, lane: Lane[Delivery]) -> Settled | Parked:
        try:
            event = load(delivery.event.kind, delivery.event.body)
        except PayloadError as error:
            return Settled("dead", error=str(error), why=str(error))
        route = self.router.find(delivery.handler)
        if route is None:
            nobody = f"no handler is named {delivery.handler}; enable it and send this again"
            return Settled("dead", error=nobody, why=nobody)
        async with self._slots:
            if self._latest(delivery) and lane.newer.is_set():
                return Settled("superseded")
            return await self._run(route, event, self.make_context(delivery, event), lane)

    async def _run(self, route: Route, event: Event, ctx: Context, lane: Lane[Delivery]) -> Settled | Parked:
        """Call the handler and say what its end means. Handlers are the users' code: they may raise anything."""
        try:
            if not await self._call(route, event, ctx, lane):
                return Settled("superseded", await ctx.end("superseded"))
            return Settled("finished", await ctx.end("ready"))
        except CardExpired:
            return Settled("finished", await ctx.end("expired"))
        except Later as wish:
            await ctx.end("withheld")
            return Parked(wish.seconds, ctx.delivery.attempts, _safe(str(wish)), "Later")
        except Exception as error:  # noqa: BLE001 - see above
            return await self._failed(error, ctx)

    async def _call(self, route: Route, event: Event, ctx: Context, lane: Lane[Delivery]) -> bool:
        """True when the handler came to its end, False when a newer delivery superseded it."""
        async with asyncio.timeout(self.timeout):
            if self._latest(ctx.delivery):
                return await first_of(_handle(route, event, ctx), lane.newer.wait())
            await _handle(route, event, ctx)
            return True

    async def _failed(self, error: Exception, ctx: Context) -> Settled | Parked:
        if isinstance(error, BudgetError) and ctx.has_card:
            return Settled("finished", await ctx.end("withheld"))
        effects = await ctx.end("failed")
        attempts = ctx.delivery.attempts + 1
        hint = error.retry_after if isinstance(error, UpstreamError) else None
        final = isinstance(error, BudgetError) or (isinstance(error, UpstreamError) and not error.retryable)
        seconds = None if final else delay(attempts, self.policy, self.chance(), retry_after=hint)
        if seconds is None:
            return Settled("dead", effects, _safe("".join(traceback.format_exception(error))), _why(error))
        return Parked(seconds, attempts, _safe("".join(traceback.format_exception_only(error)).strip()), _why(error))

    def _latest(self, delivery: Delivery) -> bool:
        return delivery.mode == "latest" and not self.in_order

    def _note(self, delivery: Delivery, action: str, *, why: str = "", **figures: float) -> None:
        fields: Mapping[str, str | float] = {
            "event": delivery.event.id,
            "conversation": delivery.event.conversation,
            "handler": delivery.handler,
            "attempts": delivery.attempts,
            **figures,
        }
        if why:
            level = "error" if action == "dead" else "warning"
            self.journal.note(action, **fields, error=hide(why, Vault()), level=level)
        else:
            self.journal.note(action, **fields)


async def _handle(route: Route, event: Event, ctx: Context) -> None:
    """A handler's own broken awaits are its failure; only if somebody cancelled *us* are we cancelled."""
    try:
        await route.handle(event, ctx)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("the handler awaited something that had been cancelled") from error
    except SystemExit as error:  # it would end the process, and again after every start
        raise RuntimeError("the handler, or what it called, wanted to end the process") from error
    finally:
        await ctx.close()


def _safe(text: str) -> str:
    """A user's exception may quote what somebody said."""
    return hide(text, Vault()).text


def _why(error: Exception) -> str:
    """What the log may tell: our own errors say nothing of a conversation; of a user's, only the class."""
    if isinstance(error, ExceptionGroup):
        return ", ".join(_why(inner) for inner in error.exceptions)
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, UpstreamError | BudgetError) else name


class Fenced(Exception):  # noqa: N818 - ends a partition's tasks, not an error of anybody
    """Another owner has this partition now."""
