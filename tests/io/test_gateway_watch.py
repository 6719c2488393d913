from __future__ import annotations

import asyncio

import pytest

from bridge.io.gateway_source import Watch
from bridge.sim.clock import FakeClock


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def ready() -> str:
    return "here"


async def expires(watch: Watch, due: float) -> None:
    with pytest.raises(TimeoutError):
        await watch.within(due, never)


async def test_what_comes_in_time_is_given() -> None:
    assert await Watch(FakeClock()).within(1, ready) == "here"


async def test_a_wait_ends_when_the_clock_says_so_and_not_before() -> None:
    clock = FakeClock()
    waiting = asyncio.create_task(expires(Watch(clock), 5))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.1)
    await waiting


async def test_a_wait_whose_time_is_over_is_not_begun() -> None:
    clock = FakeClock()
    await clock.advance(5)
    with pytest.raises(TimeoutError):
        await Watch(clock).within(5, ready)


async def test_one_sleeper_serves_all_waits_of_a_stream() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    for _ in range(10):
        await watch.within(clock.monotonic() + 5, ready)
        await clock.advance(0.1)
    assert len(clock.waits) == 1
    waiting = asyncio.create_task(expires(watch, 9))
    await clock.advance(8)
    await waiting
    assert clock.monotonic() == 9


async def test_a_nearer_end_is_kept_too() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    await watch.within(60, ready)
    waiting = asyncio.create_task(expires(watch, 2))
    await clock.advance(2)
    await waiting
    assert clock.waits == []


async def test_a_closed_watch_sleeps_no_more() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    await watch.within(60, ready)
    await clock.settle()
    watch.close()
    await clock.settle()
    assert clock.waits == []
