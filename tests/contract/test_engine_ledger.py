"""Tokens: never above a cap, whoever asks, and never free because somebody died."""

from __future__ import annotations

import asyncio

from engines import Store

from bridge.ports import Reservation

DAY, TALK = ("tenant:day", 1000), ("conversation:talk", 300)


def wish(key: str, amount: int, *caps: tuple[str, int], partition: int = 0) -> Reservation:
    return Reservation(key, amount, caps or (DAY,), partition)


async def test_many_at_once_never_pass_the_cap(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        asked = (engine.reserve(wish(f"{engine.worker}{n}", 7)) for n in range(100) for engine in (one, two))
        granted = await asyncio.gather(*asked)
        assert sum(granted) == 1000 // 7
        assert await one.spent(DAY[0]) == await two.spent(DAY[0]) == (0, 1000 // 7 * 7)


async def test_all_caps_or_none(open_engine: Store) -> None:
    async with open_engine() as engine:
        assert await engine.reserve(wish("a", 200, DAY, TALK))
        assert not await engine.reserve(wish("b", 200, DAY, TALK))
        assert await engine.spent(DAY[0]) == (0, 200)
        assert await engine.spent(TALK[0]) == (0, 200)
        assert await engine.reserve(wish("c", 100, DAY, TALK))
        assert not await engine.reserve(wish("d", 1, TALK))


async def test_the_unused_part_is_free_again(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.reserve(wish("a", 300, DAY, TALK))
        await engine.settle("a", 120)
        assert await engine.spent(DAY[0]) == await engine.spent(TALK[0]) == (120, 0)
        await engine.settle("a", 50)
        await engine.settle("unknown", 50)
        assert await engine.spent(DAY[0]) == (120, 0)
        assert await engine.reserve(wish("b", 180, TALK))


async def test_more_than_was_reserved_is_charged_too(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.reserve(wish("a", 300, TALK))
        await engine.settle("a", 310)
        assert await engine.spent(TALK[0]) == (310, 0)
        assert not await engine.reserve(wish("b", 1, TALK))


async def test_the_same_key_replaces_its_reservation(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.reserve(wish("a", 300, DAY, TALK))
        assert await engine.reserve(wish("a", 250, TALK))
        assert await engine.spent(TALK[0]) == (0, 250)
        assert await engine.spent(DAY[0]) == (0, 0)
        assert not await engine.reserve(wish("a", 301, TALK))
        assert await engine.spent(TALK[0]) == (0, 250)


async def test_the_ledger_is_there_after_a_restart(open_engine: Store) -> None:
    async with open_engine("one") as engine:
        await engine.reserve(wish("a", 10))
        await engine.reserve(wish("b", 20))
        await engine.settle("a", 5)
    async with open_engine("one") as engine:
        assert await engine.spent(DAY[0]) == (5, 20)


async def test_the_next_owner_is_charged_for_what_was_under_way(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        await one.acquire([1, 2])
        await one.reserve(wish("a", 100, DAY, TALK, partition=1))
        await one.reserve(wish("b", 50, DAY, partition=1))
        await one.reserve(wish("c", 30, DAY, partition=2))
        await two.acquire([1])
        assert await two.spent(DAY[0]) == (150, 30)
        assert await two.spent(TALK[0]) == (100, 0)
        await one.settle("c", 3)
        assert await two.spent(DAY[0]) == (153, 0)


async def test_a_late_settle_does_not_touch_the_reservation_of_the_next_owner(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        await one.acquire([1])
        await one.reserve(wish("a", 100, partition=1))
        await two.acquire([1])
        await two.reserve(wish("a", 100, partition=1))
        await one.settle("a", 1)
        assert await two.spent(DAY[0]) == (100, 100)
        await two.settle("a", 40)
        assert await two.spent(DAY[0]) == (140, 0)
