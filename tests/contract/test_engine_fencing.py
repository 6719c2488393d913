"""What an engine refuses an owner that is no longer one."""

from __future__ import annotations

import asyncio

from engines import BOTH, ONE, Store, arrival, callback, own, take

from bridge.ports import Effect, Record


async def test_the_next_owner_gets_what_is_unfinished_in_order(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        await one.append([arrival(f"{n}", wanted=ONE) for n in range(6)])
        partition, epoch = await own(one)
        taken = await take(one.tail(partition, epoch), 6)
        for delivery in (taken[3], taken[0]):
            assert await one.finish(delivery, epoch)
        _, later = await own(two)
        assert later > epoch
        assert [item.event.id for item in await take(two.tail(partition, later), 4)] == ["1", "2", "4", "5"]


async def test_a_late_settlement_is_refused_and_stores_nothing(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        await one.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(one)
        (late,) = await take(one.tail(partition, epoch), 1)
        await own(two)
        effects: list[Effect] = [callback(late), Record("r", "card", "talk", "notes", "a", "ready")]
        assert not await one.finish(late, epoch, effects)
        assert not await one.finish(late, epoch, effects, state="superseded")
        assert not await one.dead(late, epoch, "late", effects)
        assert not await one.park(late, epoch, attempts=3, not_before_ms=9, error="late")
        assert await two.deliveries() == [late]
        assert await two.callbacks() == []
        assert await two.records() == []


async def test_a_late_answer_of_a_destination_is_refused(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        await one.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(one)
        (delivery,) = await take(one.tail(partition, epoch), 1)
        await one.finish(delivery, epoch, [callback(delivery)])
        (late,) = await take(one.outbox(partition, epoch), 1)
        await own(two)
        assert not await one.outbox_done(late, epoch, state="delivered", answer="200")
        assert not await one.outbox_park(late, epoch, attempts=1, not_before_ms=9, answer="503")
        assert await two.callbacks() == [late]


async def test_what_was_released_is_not_settled_any_more(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(engine)
        (delivery,) = await take(engine.tail(partition, epoch), 1)
        await engine.release({partition: epoch})
        assert not await engine.finish(delivery, epoch)
        assert (await engine.counts()).waiting == 1


async def test_owners_are_those_who_acquired_last(open_engine: Store) -> None:
    async with open_engine("one") as one, open_engine("two") as two:
        assert await one.owners() == dict.fromkeys(range(one.partitions))
        first = await one.acquire([0, 1, 2])
        second = await two.acquire([2, 3])
        assert set(first) == {0, 1, 2}
        assert second[2] > first[2]
        await one.release(first)
        assert await two.owners() == {0: None, 1: None, 2: "two", 3: "two", 4: None, 5: None, 6: None, 7: None}
    async with open_engine("three") as three:
        assert set((await three.owners()).values()) == {None}


async def test_epochs_go_on_after_a_restart(open_engine: Store) -> None:
    async with open_engine() as engine:
        _, before = await own(engine)
    async with open_engine() as engine:
        _, after = await own(engine)
    assert after > before


async def test_of_two_that_settle_a_delivery_at_once_one_does(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(engine)
        (one,) = await take(engine.tail(partition, epoch), 1)
        effects = [callback(one, n) for n in range(3)]
        told = await asyncio.gather(*(engine.finish(one, epoch, [effect]) for effect in effects))
        assert sorted(told) == [False, False, True]
        assert [stored.key for stored in await engine.callbacks()] == [effects[told.index(True)].key]
        assert (await engine.counts()).finished == 1


async def test_any_text_of_an_error_is_kept(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(engine)
        (one,) = await take(engine.tail(partition, epoch), 1)
        assert await engine.dead(one, epoch, "can't encode '\ud800' in \u00fc")
        assert (await engine.deliveries())[0].error == "can't encode '\\ud800' in \u00fc"


async def test_a_delivery_is_settled_once(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=BOTH)])
        partition, epoch = await own(engine)
        first, second = await take(engine.tail(partition, epoch), 2)
        assert await engine.finish(first, epoch, [callback(first)])
        assert not await engine.finish(first, epoch, [callback(first, 1)])
        assert not await engine.park(first, epoch, attempts=1, not_before_ms=1, error="again")
        assert [one.key for one in await engine.callbacks()] == [callback(first).key]
        assert [one.state for one in await engine.deliveries()] == ["finished", "waiting"]
        assert await engine.finish(second, epoch)
