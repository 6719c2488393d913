"""Lanes: in order within, side by side between."""

from __future__ import annotations

import asyncio

import pytest

from bridge.lanes import Lane, Lanes, first_of


class Work:
    """Items that run until they are let go; remembers what began and what ended."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def run(self, item: str, _: Lane[str]) -> None:
        self.began.append(item)
        await self.gates.setdefault(item, asyncio.Event()).wait()
        self.ended.append(item)

    async def let_go(self, item: str) -> None:
        self.gates.setdefault(item, asyncio.Event()).set()
        await turn()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_lane_runs_in_order_one_at_a_time() -> None:
    work = Work()
    async with asyncio.TaskGroup() as group:
        lanes = Lanes[str](work.run, group)
        for item in ("a1", "a2", "a3"):
            lanes.put("a", item)
        await turn()
        assert work.began == ["a1"]
        for item in ("a3", "a2", "a1"):
            await work.let_go(item)
    assert work.ended == ["a1", "a2", "a3"]


async def test_a_lane_that_is_stuck_holds_up_no_other() -> None:
    work = Work()
    async with asyncio.TaskGroup() as group:
        lanes = Lanes[str](work.run, group)
        lanes.put("a", "a1")
        lanes.put("b", "b1")
        await turn()
        await work.let_go("b1")
        assert work.ended == ["b1"]
        await work.let_go("a1")


async def test_a_lane_is_told_when_something_newer_waits_and_when_nothing_does() -> None:
    told: list[bool] = []

    async def run(_: str, lane: Lane[str]) -> None:
        await turn()
        told.append(lane.newer.is_set())

    async with asyncio.TaskGroup() as group:
        lanes = Lanes[str](run, group)
        for item in ("a1", "a2"):
            lanes.put("a", item)
    assert told == [True, False]


async def test_an_idle_lane_is_forgotten_and_works_again() -> None:
    work = Work()
    async with asyncio.TaskGroup() as group:
        lanes = Lanes[str](work.run, group)
        lanes.put("a", "a1")
        await work.let_go("a1")
        assert len(lanes) == 0
        lanes.put("a", "a2")
        await work.let_go("a2")
    assert work.ended == ["a1", "a2"]


async def test_work_that_is_interrupted_has_cleaned_up_before_we_go_on() -> None:
    cleaned = asyncio.Event()
    newer = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turn()
            cleaned.set()

    asyncio.get_running_loop().call_soon(newer.set)
    assert not await first_of(work(), newer.wait())
    assert cleaned.is_set()


async def test_work_that_ends_first_says_so_and_its_error_is_raised() -> None:
    async def work() -> None:
        raise ValueError("broken")

    never = asyncio.Event()
    with pytest.raises(ValueError, match="broken"):
        await first_of(work(), never.wait())
    assert await first_of(asyncio.sleep(0), never.wait())


async def test_cancelling_from_outside_cancels_the_work() -> None:
    work = Work()
    lane: Lane[str] = Lane()
    task = asyncio.create_task(first_of(work.run("a", lane), asyncio.Event().wait()))
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.began == ["a"]
    assert work.ended == []
