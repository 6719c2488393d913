"""Callbacks on their way: verdicts, waits, lanes, and what survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bridge_parts import PARTITIONS, FakeCrm, Stand, open_stand, outlet, said, until

from bridge.core.partition import partition_of
from bridge.ports import Callback, Reply
from bridge.sim.clock import FakeClock

WANTED = (("h.on_said", "ordered"),)


@asynccontextmanager
async def sending(stand: Stand) -> AsyncIterator[None]:
    """Every partition's sender at work."""
    epochs = await stand.engine.acquire(range(PARTITIONS))
    sender = stand.sender()
    tasks = {asyncio.create_task(sender.run(partition, epoch)) for partition, epoch in epochs.items()}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def note(stand: Stand, *names: str, conversation: str = "talk", to: str = "crm") -> None:
    """Store callbacks under these names, one delivery each."""
    part = partition_of(conversation, PARTITIONS)
    for name in names:
        await stand.tell(said(name, conversation=conversation), wanted=WANTED)
        epoch = (await stand.engine.acquire([part]))[part]
        effect = Callback(name, conversation, "h.on_said", name, to, "noted", b'{"of":"%s"}' % name.encode())
        assert await stand.engine.finish(await stand.delivery(name), epoch, [effect])


async def state(stand: Stand, key: str) -> Callback:
    return next(one for one in await stand.engine.callbacks(limit=1_000) if one.key == key)


async def test_what_is_taken_is_delivered_with_the_answer_kept(tmp_path: Path) -> None:
    async with open_stand(tmp_path, crm=FakeCrm([Reply(202, "taken")])) as stand:
        await note(stand, "a")
        async with sending(stand):
            await stand.noted("delivered")
            await until(lambda: stand.crm.got)
        done = await state(stand, "a")
        assert (done.state, done.answer) == ("delivered", "202 taken")
        assert stand.crm.got[0].payload == b'{"of":"a"}'


@pytest.mark.parametrize("status", [500, 503, 429, 408, 425, None])
async def test_what_may_pass_is_tried_again_by_the_schedule_with_the_same_bytes(
    tmp_path: Path, status: int | None
) -> None:
    crm = FakeCrm([Reply(status, "no"), Reply(status, "no")])
    async with open_stand(tmp_path, crm=crm) as stand:
        await note(stand, "a")
        async with sending(stand):
            for tries, seconds in enumerate((5.0, 300.0), 1):
                await stand.parked(seconds)
                waiting = await state(stand, "a")
                assert waiting.attempts == tries
                assert waiting.not_before_ms == stand.clock.now_ms() + seconds * 1000
                await stand.clock.advance(seconds)
            await stand.noted("delivered")
        assert len({(one.key, one.payload) for one in crm.got}) == 1
        assert len(crm.got) == 3


@pytest.mark.parametrize(
    "reply", [Reply(400, "no such field"), Reply(301), Reply(404), Reply(None, "refused", final=True)]
)
async def test_what_never_passes_is_dead_at_once_with_the_answer_kept(tmp_path: Path, reply: Reply) -> None:
    async with open_stand(tmp_path, crm=FakeCrm([reply])) as stand:
        await note(stand, "a", "b")
        async with sending(stand):
            await stand.noted("callback_dead")
            await stand.noted("delivered")
        dead = await state(stand, "a")
        assert dead.state == "dead"
        assert dead.answer == f"{reply.status or ''} {reply.detail}".strip()
        assert stand.crm.keys == ["a", "b"]


async def test_retry_after_is_the_least_wait(tmp_path: Path) -> None:
    async with open_stand(tmp_path, crm=FakeCrm([Reply(503, retry_after=77.0)])) as stand:
        await note(stand, "a")
        async with sending(stand):
            await stand.parked(77.0)


async def test_gone_pauses_the_destination_for_every_conversation_and_only_that_one(tmp_path: Path) -> None:
    crm, other = FakeCrm([Reply(410)]), FakeCrm()
    outlets = {"crm": outlet(crm), "other": outlet(other, "other")}
    async with open_stand(tmp_path, outlets=outlets) as stand:
        await note(stand, "a")
        async with sending(stand):
            await stand.parked(3_600.0)
        await note(stand, "b", conversation="elsewhere")
        await note(stand, "c", conversation="elsewhere", to="other")
        async with sending(stand):
            await stand.noted("delivered")
            await stand.clock.advance(3_599.0)
            assert (crm.keys, other.keys) == (["a"], ["c"])
            await stand.clock.advance(1.0)
            await stand.noted("delivered", 3)
        assert sorted(crm.keys) == ["a", "a", "b"]
        assert stand.notes.of("paused")[0]["destination"] == "crm"


async def test_callbacks_that_wait_for_a_slot_see_the_pause_too(tmp_path: Path) -> None:
    crm = FakeCrm([Reply(410)], gate=asyncio.Event())
    async with open_stand(tmp_path, outlets={"crm": outlet(crm, concurrency=1)}) as stand:
        for name in "abc":
            await note(stand, name, conversation=name)
        async with sending(stand):
            await until(lambda: crm.got)
            await stand.clock.settle()
            assert crm.gate is not None
            crm.gate.set()
            await stand.noted("callback_parked")
            await stand.clock.settle()
            assert len(crm.got) == 1


async def test_a_destination_that_stays_gone_is_given_up(tmp_path: Path) -> None:
    crm = FakeCrm([Reply(410)] * 9)
    async with open_stand(tmp_path, outlets={"crm": outlet(crm, give_up_after=7_200.0)}) as stand:
        await note(stand, "a")
        async with sending(stand):
            for _ in range(2):
                await stand.parked(3_600.0)
                await stand.clock.advance(3_600.0)
            await stand.noted("callback_dead")
        assert len(crm.got) == 3


async def test_a_destination_that_is_down_holds_up_no_other(tmp_path: Path) -> None:
    down, up = FakeCrm(gate=asyncio.Event()), FakeCrm()
    async with open_stand(tmp_path, outlets={"down": outlet(down, "down"), "up": outlet(up, "up")}) as stand:
        await note(stand, "a", to="down")
        await note(stand, "b", to="up")
        async with sending(stand):
            await stand.noted("delivered")
        assert (down.keys, up.keys) == (["a"], ["b"])


async def test_one_conversation_keeps_its_order_at_one_destination_while_others_go_on(tmp_path: Path) -> None:
    crm = FakeCrm([Reply(503)])
    part = partition_of("talk", PARTITIONS)
    neighbour = next(name for name in map(str, range(99)) if partition_of(name, PARTITIONS) == part)
    async with open_stand(tmp_path, crm=crm) as stand:
        await note(stand, "a1", "a2", "a3")
        await note(stand, "b1", conversation=neighbour)
        async with sending(stand):
            await stand.parked(5.0)
            await stand.noted("delivered")
            assert crm.keys == ["a1", "b1"]
            await stand.clock.advance(5.0)
            await stand.noted("delivered", 4)
        assert crm.keys == ["a1", "b1", "a1", "a2", "a3"]


async def test_so_many_at_once_and_no_more(tmp_path: Path) -> None:
    crm = FakeCrm(gate=asyncio.Event())
    async with open_stand(tmp_path, outlets={"crm": outlet(crm, concurrency=2)}) as stand:
        for name in "abcde":
            await note(stand, name, conversation=name)
        async with sending(stand):
            await until(lambda: crm.under_way == 2)
            assert crm.gate is not None
            crm.gate.set()
            await stand.noted("delivered", 5)
        assert crm.most == 2


async def test_a_destination_that_nobody_set_is_dead_with_its_name(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await note(stand, "a", to="nowhere")
        async with sending(stand):
            await stand.noted("callback_dead")
        assert (await state(stand, "a")).answer == "no destination is named nowhere"


async def test_after_its_tries_or_its_time_it_is_dead(tmp_path: Path) -> None:
    crm, slow = FakeCrm([Reply(500)] * 9), FakeCrm([Reply(500)] * 9)
    outlets = {"crm": outlet(crm, tries=2), "slow": outlet(slow, "slow", give_up_after=60.0)}
    async with open_stand(tmp_path, outlets=outlets) as stand:
        await note(stand, "a")
        await note(stand, "b", to="slow")
        async with sending(stand):
            await until(lambda: stand.clock.waits.count(5.0) == 2)
            await stand.clock.advance(5.0)
            await stand.noted("callback_dead", 2)
        assert (len(crm.got), len(slow.got)) == (2, 2)
        assert (await state(stand, "a")).answer == "500"


async def test_a_parked_callback_waits_its_time_over_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_stand(tmp_path, clock=clock, crm=FakeCrm([Reply(503)])) as stand:
        await note(stand, "a")
        async with sending(stand):
            await stand.parked(5.0)
            await clock.advance(2.0)
    async with open_stand(tmp_path, clock=clock, crm=FakeCrm([Reply(503)])) as stand, sending(stand):
        await stand.parked(3.0)
        assert stand.crm.got == []
        await clock.advance(3.0)
        await stand.parked(300.0)
        assert (await state(stand, "a")).attempts == 2


async def test_a_fenced_sender_ends_and_settles_nothing(tmp_path: Path) -> None:
    crm = FakeCrm(gate=asyncio.Event())
    async with open_stand(tmp_path, crm=crm) as stand:
        await note(stand, "a")
        part = partition_of("talk", PARTITIONS)
        async with sending(stand):
            await until(lambda: crm.got)
            await stand.engine.acquire([part])
            assert crm.gate is not None
            crm.gate.set()
            await stand.noted("fenced")
        assert (await state(stand, "a")).state == "waiting"
        assert stand.notes.of("delivered") == []
