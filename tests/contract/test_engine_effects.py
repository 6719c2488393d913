"""Effects: stored with their settlement, once, and sent in order."""

from __future__ import annotations

from attrs import evolve
from engines import ONE, Store, arrival, callback, own, soon, take

from bridge.ports import Delivery, Engine, Record


async def begin(engine: Engine, *names: str) -> tuple[int, int, list[Delivery]]:
    """Own the partition, and take a delivery of each event."""
    await engine.append([arrival(name, wanted=ONE) for name in names])
    partition, epoch = await own(engine)
    return partition, epoch, await take(engine.tail(partition, epoch), len(names))


async def test_a_callback_is_stored_to_the_byte(open_engine: Store) -> None:
    payload = bytes(range(256))
    async with open_engine() as engine:
        partition, epoch, (one,) = await begin(engine, "a")
        await engine.finish(one, epoch, [callback(one, payload=payload)])
    async with open_engine() as engine:
        (stored,) = await engine.callbacks()
        now = open_engine.clock.now_ms()
        assert stored == evolve(callback(one, payload=payload), partition=partition, stored_ms=now)


async def test_of_two_callbacks_with_one_key_the_first_is_kept(open_engine: Store) -> None:
    async with open_engine() as engine:
        _, epoch, (a, b) = await begin(engine, "a", "b")
        await engine.finish(a, epoch, [callback(a, payload=b"first"), callback(a, payload=b"second")])
        await engine.finish(b, epoch, [callback(a, payload=b"third"), callback(b, payload=b"own")])
        assert [one.payload for one in await engine.callbacks()] == [b"first", b"own"]
        assert (await engine.counts()).callbacks_waiting == 2


async def test_a_dead_delivery_may_have_effects_too(open_engine: Store) -> None:
    async with open_engine() as engine:
        _, epoch, (one,) = await begin(engine, "a")
        assert await engine.dead(one, epoch, "no", [callback(one)])
        assert [stored.key for stored in await engine.callbacks()] == [callback(one).key]


async def test_records_are_kept_once_with_their_fields(open_engine: Store) -> None:
    async with open_engine() as engine:
        _, epoch, (one,) = await begin(engine, "a")
        card = Record("a:notes:0", "card", "talk", "notes", "a", "ready", {"tokens": 12, "hash": "9f", "late": None})
        inference = Record("a:notes:0", "inference", "talk", "notes", "a", "complete")
        await engine.finish(one, epoch, [card, inference, evolve(card, state="failed")])
        assert await engine.records() == [card, inference]


async def test_the_outbox_gives_what_waits_in_order_and_then_what_comes(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch, (a, b) = await begin(engine, "a", "b")
        await engine.finish(a, epoch, [callback(a, n) for n in range(3)])
        outbox = engine.outbox(partition, epoch)
        assert [one.key for one in await take(outbox, 3)] == [callback(a, n).key for n in range(3)]
        waiter = soon(outbox)
        await engine.finish(b, epoch, [callback(b, 0), callback(b, 1)])
        assert [one.key for one in [await waiter, *await take(outbox, 1)]] == [callback(b, n).key for n in range(2)]


async def test_a_parked_callback_comes_again_to_the_next_owner_only(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch, (a, b) = await begin(engine, "a", "b")
        await engine.finish(a, epoch, [callback(a)])
        outbox = engine.outbox(partition, epoch)
        (sent,) = await take(outbox, 1)
        assert await engine.outbox_park(sent, epoch, attempts=1, not_before_ms=7_000, answer="503")
        await engine.finish(b, epoch, [callback(b)])
        assert [one.key for one in await take(outbox, 1)] == [callback(b).key]
    async with open_engine() as engine:
        again, _ = await take(engine.outbox(*await own(engine)), 2)
        assert (again.key, again.payload) == (sent.key, sent.payload)
        assert (again.attempts, again.not_before_ms, again.answer, again.state) == (1, 7_000, "503", "waiting")


async def test_a_settled_callback_keeps_its_answer_and_is_not_sent_again(open_engine: Store) -> None:
    async with open_engine() as engine:
        partition, epoch, (a, b) = await begin(engine, "a", "b")
        await engine.finish(a, epoch, [callback(a)])
        await engine.finish(b, epoch, [callback(b)])
        first, second = await take(engine.outbox(partition, epoch), 2)
        assert await engine.outbox_done(first, epoch, state="delivered", answer="200 OK")
        assert not await engine.outbox_done(first, epoch, state="dead", answer="410")
        assert await engine.outbox_done(second, epoch, state="dead", answer="410 Gone")
        assert [(one.state, one.answer) for one in await engine.callbacks()] == [
            ("delivered", "200 OK"),
            ("dead", "410 Gone"),
        ]
        assert {one.settled_ms for one in await engine.callbacks()} == {open_engine.clock.now_ms()}
        await engine.append([arrival("c", wanted=ONE)])
        *_, c = await take(engine.tail(partition, epoch), 1)
        await engine.finish(c, epoch, [callback(c)])
        assert [one.key for one in await take(engine.outbox(partition, epoch), 1)] == [callback(c).key]


async def test_a_settlement_is_whole_after_a_restart(open_engine: Store) -> None:
    async with open_engine() as engine:
        _, epoch, (one,) = await begin(engine, "a")
        await engine.finish(one, epoch, [callback(one), Record("k", "card", "talk", "notes", "a", "ready")])
        before = await engine.deliveries(), await engine.callbacks(), await engine.records(), await engine.counts()
    async with open_engine() as engine:
        after = await engine.deliveries(), await engine.callbacks(), await engine.records(), await engine.counts()
    assert after == before
    assert before[0][0].state == "finished"
