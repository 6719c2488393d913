"""Sends callbacks: a lane per destination and conversation, so that nobody waits for somebody else's destination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import define, evolve

from bridge.core.retry import CALLBACK_WAITS, Policy, delay, verdict
from bridge.lanes import Lanes
from bridge.outlet import Outlet, age
from bridge.ports import Callback, Clock, Engine, Journal, Reply

PAUSE_SECONDS = 3_600.0


@define
class Sender:
    """One for the whole worker; `run` serves one partition."""

    engine: Engine
    outlets: Mapping[str, Outlet]
    clock: Clock
    journal: Journal
    chance: Callable[[], float]

    async def run(self, partition: int, epoch: int) -> None:
        """Send the partition's callbacks until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            lanes = Lanes[Callback](lambda callback, _: self._settle(callback, epoch), group)
            async for callback in self.engine.outbox(partition, epoch):
                lanes.put((callback.destination, callback.conversation), callback)

    async def _settle(self, callback: Callback, epoch: int) -> None:
        """Try until it is delivered or dead."""
        await self.clock.sleep(max(0.0, (callback.not_before_ms - self.clock.now_ms()) / 1000))
        while (seconds := await self._try(callback, epoch)) is not None:
            callback = evolve(callback, attempts=callback.attempts + 1)
            await self.clock.sleep(seconds)

    async def _try(self, callback: Callback, epoch: int) -> float | None:
        """Send once and settle. None when it is over, else the seconds until the next try."""
        outlet = self.outlets.get(callback.destination)
        if outlet is None:
            await self._end(callback, epoch, Reply(None, f"no destination is named {callback.destination}"), "dead")
            return None
        reply = await outlet.send(callback, self.clock)
        what = verdict(reply.status, final=reply.final)
        if what == "delivered":
            await self._end(callback, epoch, reply, what)
            return None
        seconds = self._again(outlet, callback, reply, pause=what == "pause") if what != "dead" else None
        if seconds is None:
            await self._end(callback, epoch, reply, "dead")
            return None
        await self._park(callback, epoch, reply, seconds)
        return seconds

    def _again(self, outlet: Outlet, callback: Callback, reply: Reply, *, pause: bool) -> float | None:
        """Seconds until the next try; None when its tries or its time are used up."""
        hint = reply.retry_after
        if pause:
            hint = PAUSE_SECONDS
            outlet.hold(self.clock.monotonic() + hint)
            self.journal.note("paused", destination=callback.destination, seconds=hint, level="error")
        policy = Policy(CALLBACK_WAITS, outlet.settings.tries, outlet.settings.give_up_after)
        return delay(callback.attempts + 1, policy, self.chance(), retry_after=hint, age=age(callback, self.clock))

    async def _park(self, callback: Callback, epoch: int, reply: Reply, seconds: float) -> None:
        self._note("callback_parked", callback, reply, level="warning")
        not_before_ms = self.clock.now_ms() + int(seconds * 1000)
        await self.engine.outbox_park(
            callback, epoch, attempts=callback.attempts + 1, not_before_ms=not_before_ms, answer=_answer(reply)
        )

    async def _end(self, callback: Callback, epoch: int, reply: Reply, state: Literal["delivered", "dead"]) -> None:
        if not await self.engine.outbox_done(callback, epoch, state=state, answer=_answer(reply)):
            self._note("fenced", callback, reply, level="warning")
        elif state == "delivered":
            self._note("delivered", callback, reply, level="info")
        else:
            self._note("callback_dead", callback, reply, level="error")

    def _note(self, action: str, callback: Callback, reply: Reply, *, level: str) -> None:
        self.journal.note(
            action,
            key=callback.key,
            conversation=callback.conversation,
            destination=callback.destination,
            name=callback.name,
            status=reply.status,
            attempts=callback.attempts + 1,
            level=level,
        )


def _answer(reply: Reply) -> str:
    return f"{reply.status} {reply.detail}".strip() if reply.status is not None else reply.detail
