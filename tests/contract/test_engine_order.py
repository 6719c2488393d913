"""What an engine promises to the owner of a partition: everything, in order, once."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from engines import BOTH, ONE, Store, arrival, ends, own, soon, take

from bridge.core.partition import partition_of
from bridge.ports import Delivery


async def test_a_tail_gives_what_waits_and_then_what_comes(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE), arrival("b", wanted=ONE)])
        tail = engine.tail(*await own(engine))
        assert [one.event.id for one in await take(tail, 2)] == ["a", "b"]
        waiter = soon(tail)
        await engine.append([arrival("c", wanted=ONE), arrival("d", wanted=ONE)])
        assert (await waiter).event.id == "c"
        assert [one.event.id for one in await take(tail, 1)] == ["d"]


async def test_each_handler_gets_a_delivery_that_holds_the_event(open_engine: Store) -> None:
    async with open_engine() as engine:
        given = arrival("a")
        await engine.append([given])
        partition, epoch = await own(engine)
        told = await take(engine.tail(partition, epoch), 2)
        assert {(one.handler, one.mode) for one in told} == set(BOTH)
        for one in told:
            assert (one.event.id, one.event.body, one.event.received_ms) == ("a", given.body, 1000)
            assert (one.partition, one.attempts, one.state, one.error) == (partition, 0, "waiting", "")


async def test_live_and_stored_deliveries_are_the_same(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch = await own(engine)
        tail = engine.tail(partition, epoch)
        waiter = soon(tail)
        await engine.append([arrival("a", wanted=ONE)])
        await waiter
        await engine.append([arrival("b", wanted=ONE)])
        live = [await waiter, *await take(tail, 1)]
        assert await take(engine.tail(partition, epoch), 2) == live == await engine.deliveries()


async def test_conversations_come_in_order_while_many_append(open_engine: Store) -> None:
    async with open_engine() as engine:
        owned = await engine.acquire(range(engine.partitions))
        lanes: dict[tuple[str, str], list[str]] = defaultdict(list)

        async def follow(partition: int, count: int) -> None:
            for one in await take(engine.tail(partition, owned[partition]), count):
                lanes[one.handler, one.event.conversation].append(one.event.id)

        async def speak(talk: str) -> None:
            for n in range(0, 12, 2):
                await engine.append([arrival(f"{talk}-{n:02}", talk), arrival(f"{talk}-{n + 1:02}", talk)])

        talks = [f"talk-{n}" for n in range(20)]
        counts = dict.fromkeys(owned, 0)
        for talk in talks:
            counts[partition_of(talk, engine.partitions)] += 24
        await asyncio.gather(*map(speak, talks), *(follow(*item) for item in counts.items()))
        assert lanes == {
            (handler, talk): [f"{talk}-{n:02}" for n in range(12)] for handler, _ in BOTH for talk in talks
        }


@pytest.mark.slow  # more deliveries than a tail keeps in memory
async def test_a_slow_reader_misses_nothing_and_sees_nothing_twice(open_engine: Store) -> None:
    async with open_engine() as engine:
        tail = engine.tail(*await own(engine))
        await engine.append([arrival("0000", wanted=ONE)])
        seen = await take(tail, 1)
        for start in range(1, 3000, 100):
            await engine.append([arrival(f"{n:04}", wanted=ONE) for n in range(start, min(start + 100, 3000))])
            if start % 500 == 1:
                seen += await take(tail, 10)
        seen += await take(tail, 3000 - len(seen))
        assert [one.event.id for one in seen] == [f"{n:04}" for n in range(3000)]


async def test_events_that_another_worker_appends_come_in_between(open_engine: Store) -> None:
    async with open_engine("owner") as owner, open_engine("door") as door:
        tail = owner.tail(*await own(owner))
        waiter = soon(tail)
        for n in range(10):
            await (door if n % 2 == 0 else owner).append([arrival(f"{n}", wanted=ONE)])
        seen = [await waiter, *await take(tail, 9)]
        assert [one.event.id for one in seen] == [f"{n}" for n in range(10)]


async def test_what_is_settled_does_not_come_again(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival(name, wanted=ONE) for name in "abcd"])
        partition, epoch = await own(engine)
        a, b, c, _ = await take(engine.tail(partition, epoch), 4)
        await engine.finish(a, epoch)
        await engine.finish(b, epoch, state="superseded")
        await engine.dead(c, epoch, "no")
        assert [one.event.id for one in await take(engine.tail(partition, epoch), 1)] == ["d"]
        assert [one.state for one in await engine.deliveries()] == ["finished", "superseded", "dead", "waiting"]


async def test_what_is_parked_keeps_its_place_for_the_next_owner(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE), arrival("b", wanted=ONE)])
        partition, epoch = await own(engine)
        tail = engine.tail(partition, epoch)
        a, _ = await take(tail, 2)
        assert await engine.park(a, epoch, attempts=2, not_before_ms=5_000, error="busy")
        await engine.append([arrival("c", wanted=ONE)])
        assert [one.event.id for one in await take(tail, 1)] == ["c"]
    async with open_engine() as engine:
        again = await take(engine.tail(*await own(engine)), 3)
        assert [one.event.id for one in again] == ["a", "b", "c"]
        assert (again[0].attempts, again[0].not_before_ms, again[0].error) == (2, 5_000, "busy")


async def test_settlements_are_numbered_in_their_order(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival(name, wanted=ONE) for name in "abc"])
        partition, epoch = await own(engine)
        a, b, c = await take(engine.tail(partition, epoch), 3)
        for one in (c, a):
            await engine.finish(one, epoch)
        await engine.dead(b, epoch, "no")
        numbers = {one.event.id: one.settled_as or 0 for one in await engine.deliveries()}
        assert 0 < numbers["c"] < numbers["a"] < numbers["b"]
        assert {one.settled_ms for one in await engine.deliveries()} == {open_engine.clock.now_ms()}


async def test_a_tail_ends_when_its_partition_is_released(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch = await own(engine)
        tail, outbox = engine.tail(partition, epoch), engine.outbox(partition, epoch)
        waiters = [asyncio.ensure_future(ends(tail)), asyncio.ensure_future(ends(outbox))]
        await engine.release({partition: epoch})
        assert await asyncio.gather(*waiters) == [True, True]


@pytest.mark.parametrize("taker", ["one", "two"])
async def test_a_tail_ends_when_its_partition_is_acquired_again(open_engine: Store, taker: str) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        partition, epoch = await own(one)
        tail = one.tail(partition, epoch)
        await one.append([arrival("a", wanted=ONE)])
        await take(tail, 1)
        waiter = asyncio.ensure_future(ends(tail))
        await {"one": one, "two": two}[taker].acquire([partition])
        assert await waiter


async def test_a_tail_under_an_old_epoch_is_at_its_end(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch = await own(engine)
        await engine.append([arrival("a")])
        await engine.acquire([partition])
        assert await ends(engine.tail(partition, epoch))
        assert await ends(engine.outbox(partition, epoch))


async def test_closing_the_engine_ends_its_tails(open_engine: Store) -> None:
    async with open_engine() as engine:
        waiter = asyncio.ensure_future(ends(engine.tail(*await own(engine))))
    assert await waiter


async def test_a_reader_that_was_cancelled_misses_nothing(open_engine: Store) -> None:
    async with open_engine() as engine:
        tail = engine.tail(*await own(engine))
        seen: list[Delivery] = []
        for n in range(5):
            waiter = soon(tail)
            await asyncio.sleep(0)
            waiter.cancel()
            await engine.append([arrival(f"{n}", wanted=ONE)])
            seen += await take(tail, 1)
        assert [one.event.id for one in seen] == ["0", "1", "2", "3", "4"]
