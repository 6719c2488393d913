"""What every clock does. `pass_time` is how a test makes it go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from bridge.io.clock import MachineClock
from bridge.ports import Clock
from bridge.sim.clock import FakeClock

PassTime = Callable[[float], Awaitable[None]]
STEP = 0.01


@pytest.fixture(params=["machine", "fake"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return MachineClock() if request.param == "machine" else FakeClock()


@pytest.fixture
def pass_time(clock: Clock) -> PassTime:
    return clock.advance if isinstance(clock, FakeClock) else asyncio.sleep


async def test_both_times_go_on_together(clock: Clock, pass_time: PassTime) -> None:
    wall, steady = clock.now_ms(), clock.monotonic()
    await pass_time(5 * STEP)
    assert clock.monotonic() - steady >= 5 * STEP * 0.99
    assert clock.now_ms() - wall >= 48


async def test_sleepers_wake_in_the_order_of_their_times(clock: Clock, pass_time: PassTime) -> None:
    woken: list[int] = []

    async def sleeper(steps: int) -> None:
        await clock.sleep(steps * STEP)
        woken.append(steps)

    async with asyncio.TaskGroup() as group:
        for steps in (3, 1, 2):
            group.create_task(sleeper(steps))
        await asyncio.sleep(0)
        await pass_time(5 * STEP)
    assert woken == [1, 2, 3]


async def test_nobody_wakes_early(clock: Clock, pass_time: PassTime) -> None:
    asleep = asyncio.create_task(clock.sleep(60))
    await pass_time(STEP)
    assert not asleep.done()
    asleep.cancel()


@pytest.mark.parametrize("seconds", [0, -1])
async def test_no_time_is_a_turn_for_the_others_and_not_an_error(clock: Clock, seconds: float) -> None:
    ran = asyncio.create_task(asyncio.sleep(0))
    await clock.sleep(seconds)
    await asyncio.sleep(0)
    assert ran.done()


async def test_a_sleeper_can_be_cancelled(clock: Clock, pass_time: PassTime) -> None:
    asleep = asyncio.create_task(clock.sleep(STEP))
    await asyncio.sleep(0)
    asleep.cancel()
    await pass_time(2 * STEP)
    assert asleep.cancelled()


def test_the_machines_clock_shows_the_machines_time() -> None:
    assert abs(MachineClock().now_ms() - time.time() * 1000) < 1000


async def test_a_fake_sleeper_that_sleeps_again_wakes_at_each_of_its_times() -> None:
    clock, seen = FakeClock(start_ms=0), []

    async def ticker() -> None:
        while True:
            await clock.sleep(2)
            seen.append(clock.now_ms())

    ticking = asyncio.create_task(ticker())
    await clock.advance(7)
    ticking.cancel()
    assert seen == [2000, 4000, 6000]
    assert clock.now_ms() == 7000


async def test_a_fake_clock_knows_who_waits() -> None:
    clock = FakeClock()
    asleep = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    assert clock.waits == [1]
    asleep.cancel()
    await clock.settle()
    assert clock.waits == []
