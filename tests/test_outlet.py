"""A destination's limits: how many at once, how many a second, and when it is left in peace."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import define, field

from bridge.outlet import FAILURES, PAUSE, Outlet
from bridge.ports import Callback, Reply
from bridge.settings import DestinationSettings
from bridge.sim.clock import FakeClock


@define
class Crm:
    """Answers as it is told, and notes when it was asked. Implements `ports.Destination`."""

    clock: FakeClock
    reply: Reply = field(factory=lambda: Reply(200))
    asked_at: list[float] = field(factory=list)

    async def send(self, _: Callback) -> Reply:
        self.asked_at.append(self.clock.monotonic())
        return self.reply


def make(clock: FakeClock, **settings: Any) -> tuple[Outlet, Crm]:
    crm = Crm(clock)
    return Outlet(crm, DestinationSettings(name="crm", url="https://crm.example", **settings)), crm


def callback(clock: FakeClock) -> Callback:
    return Callback("k", "c", "h", "e", "crm", "n", b"{}", stored_ms=clock.now_ms())


async def fail(outlet: Outlet, crm: Crm, clock: FakeClock, times: int, reply: Reply | None = None) -> None:
    crm.reply = reply or Reply(503)
    for _ in range(times):
        await outlet.send(callback(clock), clock)


async def test_after_so_many_failures_only_a_trial_goes_out_until_one_succeeds() -> None:
    clock = FakeClock()
    outlet, crm = make(clock)
    await fail(outlet, crm, clock, FAILURES)
    waiting = [asyncio.create_task(outlet.send(callback(clock), clock)) for _ in range(3)]
    await clock.settle()
    assert len(crm.asked_at) == FAILURES
    await clock.advance(PAUSE)
    assert len(crm.asked_at) == FAILURES + 1
    crm.reply = Reply(200)
    await clock.advance(PAUSE)
    assert [reply.status for reply in await asyncio.gather(*waiting)].count(200) == 2
    assert crm.asked_at[FAILURES + 1 :] == [2 * PAUSE] * 2


async def test_an_answer_that_refuses_shows_that_it_works() -> None:
    clock = FakeClock()
    outlet, crm = make(clock)
    await fail(outlet, crm, clock, 2 * FAILURES, Reply(404))
    assert crm.asked_at == [0.0] * 2 * FAILURES


async def test_an_address_that_may_not_be_dialled_is_no_failure_of_the_other_side() -> None:
    clock = FakeClock()
    outlet, crm = make(clock)
    await fail(outlet, crm, clock, 2 * FAILURES, Reply(None, "refused", final=True))
    assert crm.asked_at == [0.0] * 2 * FAILURES


async def test_no_more_a_second_than_it_takes() -> None:
    clock = FakeClock()
    outlet, crm = make(clock, rate=2.0)
    sending = [asyncio.create_task(outlet.send(callback(clock), clock)) for _ in range(4)]
    await clock.advance(2.0)
    await asyncio.gather(*sending)
    assert crm.asked_at == [0.0, 0.5, 1.0, 1.5]


async def test_too_many_requests_makes_everybody_wait() -> None:
    clock = FakeClock()
    outlet, crm = make(clock)
    await fail(outlet, crm, clock, 1, Reply(429, retry_after=20.0))
    other = asyncio.create_task(outlet.send(callback(clock), clock))
    await clock.advance(19.9)
    assert crm.asked_at == [0.0]
    await clock.advance(0.1)
    await other
    assert crm.asked_at == [0.0, 20.0]


async def test_a_callback_whose_time_is_over_when_its_turn_comes_is_not_sent() -> None:
    clock = FakeClock()
    outlet, crm = make(clock, give_up_after=10.0)
    outlet.hold(clock.monotonic() + 11.0)
    sending = asyncio.create_task(outlet.send(callback(clock), clock))
    await clock.advance(11.0)
    reply = await sending
    assert (reply.final, crm.asked_at) == (True, [])
    assert "not delivered within 10 s" in reply.detail
