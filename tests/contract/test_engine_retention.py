"""What an engine forgets, and what it must not."""

from __future__ import annotations

from engines import ONE, Store, arrival, callback, own, take

from bridge.ports import Counts, Record, Reservation
from bridge.sim.clock import FakeClock

DAY = 86_400.0


def clock_of(store: Store) -> FakeClock:
    assert isinstance(store.clock, FakeClock)
    return store.clock


async def test_settled_events_go_with_all_that_belongs_to_them(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("old", wanted=ONE), arrival("unwanted", wanted=())])
        partition, epoch = await own(engine)
        (old,) = await take(engine.tail(partition, epoch), 1)
        await engine.finish(old, epoch, [callback(old), Record("r", "card", "talk", "notes", "old", "ready")])
        (sent,) = await take(engine.outbox(partition, epoch), 1)
        await engine.outbox_done(sent, epoch, state="delivered", answer="200")
        await clock_of(open_engine).advance(3 * DAY)
        await engine.append([arrival("young", wanted=())])
        await open_engine.forget(engine, 2 * DAY)
        assert [event.id for event in await engine.events()] == ["young"]
        assert await engine.history("talk") == await engine.events()
        assert [await engine.deliveries(), await engine.callbacks(), await engine.records()] == [[], [], []]
        assert await engine.counts() == Counts(1, 0, 0, 0, 0, 0, 0, 0)


async def test_what_is_unfinished_or_settled_lately_stays(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival(name, wanted=ONE) for name in ("waits", "unsent", "late", "gone")])
        partition, epoch = await own(engine)
        waits, unsent, late, gone = await take(engine.tail(partition, epoch), 4)
        await engine.park(waits, epoch, attempts=1, not_before_ms=1, error="busy")
        await engine.finish(unsent, epoch, [callback(unsent)])
        await engine.finish(gone, epoch)
        await clock_of(open_engine).advance(3 * DAY)
        await engine.dead(late, epoch, "no")
        await open_engine.forget(engine, 2 * DAY)
        assert [event.id for event in await engine.events()] == ["waits", "unsent", "late"]
        assert [one.state for one in await engine.deliveries()] == ["waiting", "finished", "dead"]
        assert len(await engine.callbacks()) == 1
        assert await engine.counts() == Counts(3, 1, 1, 0, 1, 1, 0, 0)


async def test_a_place_is_never_given_again(open_engine: Store) -> None:
    async with open_engine() as engine:
        (first,) = await engine.append([arrival("a", wanted=())])
        await clock_of(open_engine).advance(3 * DAY)
        await open_engine.forget(engine, 2 * DAY)
    async with open_engine() as engine:
        (again,) = await engine.append([arrival("a", wanted=())])
        assert not again.duplicate
        assert (again.seq or 0) > (first.seq or 0)


async def test_a_ledger_outlives_its_day_and_no_open_reservation_is_forgotten(open_engine: Store) -> None:
    async with open_engine() as engine:
        for key in ("closed", "open"):
            await engine.reserve(Reservation(key, 10, ((key, 100),)))
        await engine.settle("closed", 10)
        await clock_of(open_engine).advance(1.5 * DAY)
        await open_engine.forget(engine, 60)
        assert await engine.spent("closed") == (10, 0)
        await clock_of(open_engine).advance(1.5 * DAY)
        await open_engine.forget(engine, 60)
        assert await engine.spent("closed") == (0, 0)
        assert await engine.spent("open") == (0, 10)
