"""Partitions: restarts, two workers on one file, and an owner that was replaced."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from bridge_parts import PARTITIONS, FakeGateway, Stand, open_stand, said, until

from bridge.context import Context
from bridge.core.events import Utterance
from bridge.core.partition import partition_of
from bridge.sim.clock import FakeClock


def notes_it(stand: Stand, ran: list[str], gate: asyncio.Event | None = None) -> None:
    @stand.router.on(Utterance)
    async def on_said(event: Utterance, ctx: Context) -> None:
        ran.append(event.id)
        text = await ctx.ask("suggest", question=event.text).text()
        ctx.callback("crm", "noted", text=text)
        if gate is not None:
            await gate.wait()


async def test_what_was_cut_off_runs_again_with_the_same_keys_and_is_stored_once(tmp_path: Path) -> None:
    ran: list[str] = []
    gateway = FakeGateway()
    async with open_stand(tmp_path, gateway=gateway) as stand:
        notes_it(stand, ran, asyncio.Event())
        async with stand.working():
            await stand.tell(said("u1"))
            await until(lambda: gateway.left == 1)
    async with open_stand(tmp_path, gateway=gateway) as stand:
        notes_it(stand, ran)
        async with stand.working():
            await stand.noted("delivered")
        assert ran == ["u1", "u1"]
        assert [one.key for one in gateway.asked] == ["u1:h.on_said:1"] * 2
        assert gateway.asked[0] == gateway.asked[1]
        assert stand.crm.keys == ["u1:h.on_said:1"]
        assert [callback.key for callback in await stand.engine.callbacks()] == ["u1:h.on_said:1"]


async def test_what_was_settled_does_not_run_again(tmp_path: Path) -> None:
    ran: list[str] = []
    async with open_stand(tmp_path) as stand:
        notes_it(stand, ran)
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.noted("delivered")
    async with open_stand(tmp_path) as stand:
        notes_it(stand, ran)
        async with stand.working():
            await stand.tell(said("u2"))
            await stand.noted("delivered")
        assert ran == ["u1", "u2"]
        assert stand.crm.keys == ["u2:h.on_said:1"]


async def test_a_parked_delivery_waits_its_time_over_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    ran: list[str] = []
    for times in (1, 2):
        async with open_stand(tmp_path, clock=clock) as stand:

            @stand.router.on(Utterance)
            async def on_said(event: Utterance, _: Context) -> None:
                ran.append(event.id)
                if len(ran) < 3:
                    raise ValueError("broken")

            async with stand.working():
                if times == 1:
                    await stand.tell(said("u1"))
                    await stand.parked(1.0)
                    await clock.advance(1.0)
                    await stand.parked(2.0)
                    await clock.advance(0.5)
                else:
                    await stand.parked(1.5)
                    assert ran == ["u1", "u1"]
                    assert (await stand.delivery("u1")).attempts == 2
                    await clock.advance(1.5)
                    await stand.noted("finished")
    assert ran == ["u1"] * 3


async def test_two_workers_share_and_the_one_that_stays_takes_over(tmp_path: Path) -> None:
    clock = FakeClock()
    ran: list[str] = []
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_stand(tmp_path, clock=clock, worker="one"))
        leaving = AsyncExitStack()
        second = await leaving.enter_async_context(open_stand(tmp_path, clock=clock, worker="two"))
        for stand in (first, second):
            notes_it(stand, ran)
        await stack.enter_async_context(first.working())
        assert set((await first.engine.owners()).values()) == {first.engine.worker}
        await second.engine.beat()
        ticking = asyncio.create_task(_tick(clock))
        stack.callback(ticking.cancel)
        await leaving.enter_async_context(second.working())
        await _shared(first, {first.engine.worker, second.engine.worker})
        talks = [f"talk{n}" for n in range(12)]
        assert {partition_of(talk, PARTITIONS) for talk in talks} == set(range(PARTITIONS))
        await first.tell(*(said(f"a{talk}", conversation=talk) for talk in talks))
        await until(lambda: len(first.crm.got) + len(second.crm.got) == 12)
        assert first.crm.got
        assert second.crm.got
        await leaving.aclose()
        await _shared(first, {first.engine.worker})
        await first.tell(*(said(f"b{talk}", conversation=talk) for talk in talks))
        await until(lambda: len(first.crm.got) + len(second.crm.got) == 24)
    assert len(ran) == len(set(ran)) == 24


async def _tick(clock: FakeClock) -> None:
    while True:
        await clock.advance(0.1)
        await asyncio.sleep(0.001)


async def _shared(stand: Stand, workers: set[str]) -> None:
    async with asyncio.timeout(5):
        while set((await stand.engine.owners()).values()) != workers:  # noqa: ASYNC110 - another worker's doing
            await asyncio.sleep(0.001)


async def test_a_cancelled_worker_gives_its_partitions_back(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        async with stand.working():
            assert set((await stand.engine.owners()).values()) == {stand.engine.worker}
        assert set((await stand.engine.owners()).values()) == {None}


async def test_a_fenced_owner_stores_nothing_and_its_lanes_stop(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand, open_stand(tmp_path) as thief:
        stopped: list[str] = []

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, ctx: Context) -> None:
            ctx.callback("crm", "noted")
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(event.id)

        async with stand.working() as worker:
            await stand.tell(said("u1"))
            part = partition_of("talk", PARTITIONS)
            await until(lambda: len(stand.notes.of("acquired")) == 1)
            await thief.engine.acquire([part])
            await stand.noted("fenced")
            assert stopped == ["u1"]
            assert not worker.done()
        assert (await thief.delivery("u1")).state == "waiting"
        assert await thief.engine.callbacks() == []


async def test_a_handler_that_will_not_stop_when_its_owner_is_replaced_stores_nothing(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran: list[str] = []

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, ctx: Context) -> None:
            with suppress(asyncio.CancelledError):
                await stand.engine.acquire([partition_of("talk", PARTITIONS)])
                await asyncio.Event().wait()
            ran.append(event.id)
            ctx.callback("crm", "noted")

        async with stand.working():
            await stand.tell(said("u1"))
            await stand.noted("fenced", 2)
        assert ran == ["u1"]
        assert (await stand.delivery("u1")).state == "waiting"
        assert await stand.engine.callbacks() == []
        assert stand.notes.of("finished") == []
