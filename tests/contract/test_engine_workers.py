"""Several workers on one store: who lives, who is dead, and what remains of a process that was killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial

import pytest
from engines import ONE, PARTITIONS, Store, arrival, line, own, take, until

from bridge.core.partition import partition_of
from bridge.errors import ConfigError
from bridge.io.clock import MachineClock
from bridge.ports import Engine
from bridge.sim.clock import FakeClock

pytestmark = pytest.mark.slow  # most of these start a Python process, which takes 0.3 s


async def test_a_worker_lives_from_its_first_beat_until_it_leaves(open_engine: Store) -> None:
    async with open_engine("one") as one:
        assert await one.beat() == {"one"}
        async with open_engine("two") as two:
            assert await one.beat() == {"one"}
            assert await two.beat() == {"one", "two"}
            assert await one.beat() == {"one", "two"}
        assert await one.beat() == {"one"}


async def test_a_worker_that_stopped_beating_is_hung_until_it_beats_again(open_engine: Store) -> None:
    clock = open_engine.clock
    assert isinstance(clock, FakeClock)
    async with open_engine("one", lease=2.0) as one, open_engine("two", lease=2.0) as two:
        await two.beat()
        for _ in range(4):
            assert await one.beat() == {"one", "two"}
            await clock.advance(0.45)
        await clock.advance(0.3)
        assert await one.beat() == {"one"}
        assert await two.beat() == {"one", "two"}
        assert await one.beat() == {"one", "two"}


async def test_each_worker_has_a_name_of_its_own(open_engine: Store) -> None:
    async with open_engine() as one, open_engine() as two:
        assert one.worker != two.worker
    async with open_engine("same") as first, open_engine("same") as second:
        await first.beat()
        with pytest.raises(ConfigError, match="'same' runs already"):
            await second.beat()


async def test_a_killed_worker_is_seen_at_once_and_taken_over(open_engine: Store) -> None:
    open_engine.clock = MachineClock()
    async with open_engine("heir", lease=2.0) as heir, open_engine.process("hold") as holder:
        await heir.append([arrival(f"{n}", wanted=ONE) for n in range(5)])
        assert await line(holder) == "holding"
        assert await heir.beat() == {"heir", "holder"}
        assert set((await heir.owners()).values()) == {"holder"}
        holder.kill()
        await until(partial(alone, heir), 0.5)
        seen = await take(heir.tail(*await own(heir)), 5)
        assert [one.event.id for one in seen] == [f"{n}" for n in range(5)]


async def test_a_stopped_worker_is_hung_after_its_lease_and_wakes_without_its_partitions(open_engine: Store) -> None:
    open_engine.clock = MachineClock()
    async with open_engine("heir", lease=0.4) as heir, open_engine.process("hold") as holder:
        assert await line(holder) == "holding"
        assert "holder" in await heir.beat()
        os.kill(holder.pid, signal.SIGSTOP)
        await until(partial(alone, heir), 1.5)
        await heir.acquire(range(heir.partitions))
        os.kill(holder.pid, signal.SIGCONT)
        await until(partial(both_live, heir), 5)
        assert set((await heir.owners()).values()) == {"heir"}


async def test_two_processes_share_the_work_and_one_goes_on_when_the_other_is_killed(open_engine: Store) -> None:
    talks = [f"talk-{n}" for n in range(16)]
    names = [f"{talk}:{n:02}" for n in range(20) for talk in talks]
    events = [arrival(name, name.partition(":")[0], ONE) for name in names]
    async with (
        open_engine() as door,
        open_engine.process("work", "one") as one,
        open_engine.process("work", "two") as two,
    ):
        await until(partial(shared, door), 10)
        await door.append(events[:160])
        for _ in range(20):
            assert await line(one)
            assert await line(two)
        one.kill()
        await door.append(events[160:])
        await until(partial(nothing_waits, door), 10)
        settled = sorted(await door.deliveries(limit=1000), key=lambda item: item.settled_as or 0)
        assert {item.state for item in settled} == {"finished"}
        for talk in talks:
            lane = [item.event.id for item in settled if item.event.conversation == talk]
            assert lane == [name for name in names if name.startswith(f"{talk}:")]
        sent = Counter(item.key for item in await door.callbacks(limit=1000))
        assert sent == Counter(f"{name}:notes:0" for name in names)


async def alone(engine: Engine) -> bool:
    return await engine.beat() == {engine.worker}


async def both_live(engine: Engine) -> bool:
    return len(await engine.beat()) == 2


async def shared(engine: Engine) -> bool:
    return set((await engine.owners()).values()) == {"one", "two"}


async def nothing_waits(engine: Engine) -> bool:
    return (await engine.counts()).waiting == 0


async def test_what_was_acknowledged_before_a_kill_is_there(open_engine: Store) -> None:
    for life in range(3):
        async with open_engine.process("append", f"life{life}") as process:
            told = [await line(process) for _ in range(40)]
            process.kill()
            assert process.stdout is not None
            rest = (await process.stdout.read()).decode()
            told += rest.splitlines() if rest.endswith("\n") else rest.splitlines()[:-1]
        assert open_engine.is_sound()
        async with open_engine() as engine:
            stored = {event.id: event for event in await engine.events(limit=100_000)}
            acknowledged = [name for batch in told for name in batch.split()]
            assert [name for name in acknowledged if name not in stored] == []
            counts = await engine.counts()
            deliveries = Counter(one.event.id for one in await engine.deliveries(limit=200_000))
            assert deliveries == Counter(dict.fromkeys(stored, 2))
            assert (counts.events, counts.waiting) == (len(stored), 2 * len(stored))
            owned = await engine.acquire(range(PARTITIONS))
            number = partition_of("talk-3", PARTITIONS)
            mine = [event for event in stored.values() if partition_of(event.conversation, PARTITIONS) == number]
            tail = await take(engine.tail(number, owned[number]), 2 * len(mine))
            seqs = [one.event.seq for one in tail]
            assert seqs == sorted(seqs)
