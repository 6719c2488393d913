"""What an operator sees and does."""

from __future__ import annotations

import pytest
from attrs import evolve
from engines import BOTH, ONE, Store, arrival, callback, ends, own, soon, take

from bridge.ports import Counts, Record


async def test_a_dead_delivery_is_listed_and_can_be_sent_again(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(engine)
        tail = engine.tail(partition, epoch)
        (one,) = await take(tail, 1)
        await engine.park(one, epoch, attempts=1, not_before_ms=5, error="ValueError")
        await engine.dead(one, epoch, "KeyError: 'x'")
        (listed,) = await engine.deliveries(state="dead")
        assert (listed.event, listed.error, listed.attempts) == (one.event, "KeyError: 'x'", 2)
        waiter = soon(tail)
        assert await engine.requeue(event="a", handler="notes")
        assert await waiter == one
        assert not await engine.requeue(event="a", handler="notes")
        assert await engine.finish(one, epoch)
        assert await engine.deliveries(state="dead") == []


async def test_another_process_may_send_it_again(open_engine: Store) -> None:
    async with open_engine("owner") as owner, open_engine("operator") as operator:
        await owner.append([arrival("a", wanted=ONE), arrival("b", wanted=ONE)])
        partition, epoch = await own(owner)
        tail = owner.tail(partition, epoch)
        a, b = await take(tail, 2)
        await owner.finish(a, epoch, [callback(a)])
        await owner.dead(b, epoch, "no")
        outbox = owner.outbox(partition, epoch)
        (sent,) = await take(outbox, 1)
        await owner.outbox_done(sent, epoch, state="dead", answer="404")
        waiters = soon(tail), soon(outbox)
        assert await operator.requeue(event="b", handler="notes")
        assert await operator.requeue_callback(sent.key)
        assert await waiters[0] == b
        assert await waiters[1] == sent


async def test_a_dead_callback_can_be_sent_again_as_it_was(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE)])
        partition, epoch = await own(engine)
        (one,) = await take(engine.tail(partition, epoch), 1)
        await engine.finish(one, epoch, [callback(one, payload=b"\xff\x00")])
        outbox = engine.outbox(partition, epoch)
        (sent,) = await take(outbox, 1)
        assert not await engine.requeue_callback(sent.key)
        await engine.outbox_park(sent, epoch, attempts=4, not_before_ms=9, answer="503")
        await engine.outbox_done(sent, epoch, state="dead", answer="503")
        assert [(dead.attempts, dead.answer) for dead in await engine.callbacks(state="dead")] == [(5, "503")]
        assert await engine.requeue_callback(sent.key)
        assert await take(outbox, 1) == [sent]
        assert not await engine.requeue_callback("unknown")


async def test_a_dead_delivery_can_be_dropped(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a")])
        partition, epoch = await own(engine)
        one, other = await take(engine.tail(partition, epoch), 2)
        await engine.dead(one, epoch, "no")
        assert not await engine.drop(event="a", handler=other.handler)
        assert await engine.drop(event="a", handler=one.handler)
        assert not await engine.drop(event="a", handler=one.handler)
        assert [left.handler for left in await engine.deliveries()] == [other.handler]
        assert (await engine.counts()).dead == 0


async def test_only_the_dead_are_requeued(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a")])
        assert not await engine.requeue(event="a", handler="notes")
        assert not await engine.requeue(event="a", handler="nobody")
        assert not await engine.requeue(event="z", handler="notes")
        assert not await engine.drop(event="a", handler="notes")


async def test_counts_tell_every_state(open_engine: Store) -> None:
    async with open_engine() as engine:
        assert await engine.counts() == Counts(0, 0, 0, 0, 0, 0, 0, 0)
        await engine.append([arrival(name) for name in "abc"])
        partition, epoch = await own(engine)
        one, two, three, *_ = await take(engine.tail(partition, epoch), 6)
        await engine.finish(one, epoch, [callback(one, n) for n in range(4)])
        await engine.finish(two, epoch, state="superseded")
        await engine.dead(three, epoch, "no")
        first, second, *_ = await take(engine.outbox(partition, epoch), 4)
        await engine.outbox_done(first, epoch, state="delivered", answer="200")
        await engine.outbox_done(second, epoch, state="dead", answer="404")
        assert await engine.counts() == Counts(
            events=3,
            waiting=3,
            finished=1,
            superseded=1,
            dead=1,
            callbacks_waiting=2,
            callbacks_delivered=1,
            callbacks_dead=1,
        )


async def test_lists_go_page_by_page(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival(f"{n}", "talk" if n % 2 else "other") for n in range(7)])
        events = await engine.events()
        assert await engine.events(limit=3) == events[:3]
        assert await engine.events(after=events[2].seq, limit=3) == events[3:6]
        assert await engine.events(conversation="talk") == events[1::2] == await engine.history("talk")
        everything = await engine.deliveries(limit=1000)
        assert [(one.event.seq, one.handler) for one in everything] == [
            (event.seq, handler) for event in events for handler, _ in BOTH
        ]
        pages, after = [], 0
        while page := await engine.deliveries(after=after, limit=3):
            pages += page
            after = page[-1].event.seq
        assert pages == everything
        assert await engine.deliveries(conversation="talk", limit=1000) == [
            one for one in everything if one.event.conversation == "talk"
        ]
        assert await engine.deliveries(conversation="talk", state="dead") == []


async def test_callbacks_and_records_go_page_by_page(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=ONE), arrival("b", wanted=ONE)])
        partition, epoch = await own(engine)
        for one in await take(engine.tail(partition, epoch), 2):
            card = Record(one.key, "card", "talk", "notes", one.event.id, "ready")
            await engine.finish(one, epoch, [callback(one, 0), callback(one, 1), card, evolve(card, key=one.key + "+")])
        callbacks, records = await engine.callbacks(), await engine.records()
        assert [one.event for one in callbacks] == [one.event for one in records] == ["a", "a", "b", "b"]
        assert await engine.callbacks(after=1, limit=2, conversation="talk", state="waiting") == callbacks[1:3]
        assert await engine.records(after=1, limit=2, conversation="talk") == records[1:3]
        assert await engine.callbacks(conversation="other") == []
        assert await engine.records(conversation="other") == []


async def test_an_operator_who_only_looks_is_no_worker(open_engine: Store) -> None:
    async with open_engine("worker") as worker, open_engine("operator") as operator:
        assert await worker.beat() == {"worker"}
        await operator.counts()
        assert await worker.beat() == {"worker"}
        assert await operator.beat() == {"worker", "operator"}


@pytest.mark.parametrize("state", ["waiting", "finished", "superseded", "dead"])
async def test_an_empty_store_lists_nothing(open_engine: Store, state: str) -> None:
    async with open_engine() as engine:
        assert await engine.deliveries(state=state) == []  # type: ignore[arg-type]  # pytest hands over a str
        assert [await engine.events(), await engine.callbacks(), await engine.records()] == [[], [], []]
        partition, epoch = await own(engine)
        await engine.release({partition: epoch})
        assert await ends(engine.tail(partition, epoch))
