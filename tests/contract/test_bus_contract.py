"""What every bus does, whether publisher and subscriber are one process or two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from attrs import define

from bridge.io.bus import LocalBus, Shelf
from bridge.io.hostbus import open_host_bus
from bridge.ports import Bus
from bridge.sim.clock import FakeClock

CALL = "conversation-1"


@define
class Wires:
    """Two ends of one bus: `here` publishes, `there` listens. For the bus of one process both are the same."""

    here: Bus
    there: Bus
    clock: FakeClock

    def tick(self) -> None:
        """Time goes on, without a turn in which either end could hear of the other."""
        self.clock._elapsed += 0.001

    async def settle(self) -> None:
        """Let what is on its way arrive. A socket of the same host has it at once, and its reader runs next."""
        for _ in range(20):
            await asyncio.sleep(0)


Opener = Callable[[Path, FakeClock], AbstractAsyncContextManager[Wires]]


@asynccontextmanager
async def open_local(_: Path, clock: FakeClock) -> AsyncIterator[Wires]:
    bus = LocalBus(shelf=Shelf(clock.monotonic))
    yield Wires(bus, bus, clock)


@asynccontextmanager
async def open_host(folder: Path, clock: FakeClock) -> AsyncIterator[Wires]:
    async with open_host_bus(folder, clock=clock) as here, open_host_bus(folder, clock=clock) as there:
        yield Wires(here, there, clock)


@asynccontextmanager
async def open_host_alone(folder: Path, clock: FakeClock) -> AsyncIterator[Wires]:
    async with open_host_bus(folder, clock=clock) as bus:
        yield Wires(bus, bus, clock)


OPENERS: dict[str, Opener] = {"local": open_local, "host": open_host, "host, one process": open_host_alone}


@pytest.fixture(params=sorted(OPENERS))
async def wires(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wires]:
    async with OPENERS[request.param](tmp_path / "bridge.db.bus", FakeClock()) as wires:
        await wires.settle()
        yield wires


async def take(messages: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(5):
        return [await anext(messages) for _ in range(count)]


async def hears_nothing(wires: Wires, messages: AsyncIterator[bytes]) -> bool:
    waiting = asyncio.ensure_future(anext(messages))
    await wires.settle()
    silent = not waiting.done()
    waiting.cancel()
    return silent


async def test_every_subscriber_of_the_channel_gets_every_message_once_and_in_order(wires: Wires) -> None:
    async with (
        wires.there.subscribe(CALL) as one,
        wires.there.subscribe(CALL) as other,
        wires.here.subscribe(CALL) as mine,
    ):
        await wires.settle()
        sent = [b"%d" % n for n in range(300)]
        for message in sent:
            wires.here.publish(CALL, message)
        assert await take(one, 300) == await take(other, 300) == await take(mine, 300) == sent
        assert await hears_nothing(wires, one)


async def test_what_is_published_right_after_somebody_began_to_listen_is_heard(wires: Wires) -> None:
    async with wires.there.subscribe(CALL) as messages:
        wires.tick()
        wires.here.publish(CALL, b"at once")
        wires.here.publish(CALL, b"and kept", keep=True)
        assert await take(messages, 2) == [b"at once", b"and kept"]
        assert await hears_nothing(wires, messages)


async def test_other_channels_and_earlier_messages_are_not_heard(wires: Wires) -> None:
    wires.here.publish(CALL, b"before")
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as messages:
        await wires.settle()
        wires.here.publish("conversation-2", b"elsewhere")
        wires.here.publish(CALL, b"now")
        assert await take(messages, 1) == [b"now"]


async def test_who_left_hears_no_more_and_may_come_back(wires: Wires) -> None:
    async with wires.there.subscribe(CALL):
        await wires.settle()
    await wires.settle()
    wires.here.publish(CALL, b"to nobody")
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as messages:
        await wires.settle()
        wires.here.publish(CALL, b"again")
        assert await take(messages, 1) == [b"again"]


async def test_who_stays_hears_on_when_another_leaves(wires: Wires) -> None:
    async with wires.there.subscribe(CALL) as messages:
        async with wires.there.subscribe(CALL):
            await wires.settle()
        await wires.settle()
        wires.here.publish(CALL, b"still")
        assert await take(messages, 1) == [b"still"]


async def test_who_comes_later_is_given_the_last_kept_message_first(wires: Wires) -> None:
    wires.here.publish(CALL, b"card 1", keep=True)
    wires.here.publish(CALL, b"card 2", keep=True)
    wires.here.publish(CALL, b"event")
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as messages:
        assert await take(messages, 1) == [b"card 2"]
        assert await hears_nothing(wires, messages)
        wires.here.publish(CALL, b"live")
        assert await take(messages, 1) == [b"live"]


async def test_the_second_who_listens_is_given_what_the_first_was(wires: Wires) -> None:
    wires.here.publish(CALL, b"card 1", keep=True)
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as first:
        assert await take(first, 1) == [b"card 1"]
        async with wires.there.subscribe(CALL) as second:
            assert await take(second, 1) == [b"card 1"]
        wires.here.publish(CALL, b"card 2", keep=True)
        assert await take(first, 1) == [b"card 2"]


async def test_what_was_kept_for_a_listener_is_not_given_once_it_is_out_of_date(wires: Wires) -> None:
    async with wires.there.subscribe(CALL) as messages:
        await wires.settle()
        wires.here.publish(CALL, b"card 1", keep=True)
        assert await take(messages, 1) == [b"card 1"]
    await wires.settle()
    wires.here.publish(CALL, b"withdrawn", keep=True)
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as messages:
        assert await take(messages, 1) == [b"withdrawn"]
        assert await hears_nothing(wires, messages)


async def test_of_two_who_begin_to_keep_at_once_the_later_one_counts(wires: Wires) -> None:
    wires.there.publish(CALL, b"of the owner before", keep=True)
    wires.tick()
    wires.here.publish(CALL, b"of the owner now", keep=True)
    await wires.clock.advance(0.001)
    for end in (wires.here, wires.there):
        async with end.subscribe(CALL) as messages:
            assert await take(messages, 1) == [b"of the owner now"]
            assert await hears_nothing(wires, messages)


async def test_a_kept_message_is_forgotten_after_ten_minutes(wires: Wires) -> None:
    wires.here.publish(CALL, b"card", keep=True)
    await wires.clock.advance(599)
    async with wires.there.subscribe(CALL) as messages:
        assert await take(messages, 1) == [b"card"]
    await wires.clock.advance(2)
    async with wires.there.subscribe(CALL) as messages:
        assert await hears_nothing(wires, messages)


async def test_two_thousand_channels_keep_a_message_and_the_oldest_goes_first(wires: Wires) -> None:
    for n in range(2_002):
        wires.here.publish(f"call-{n}", b"card", keep=True)
    wires.here.publish("call-2", b"card", keep=True)
    wires.here.publish("call-2002", b"card", keep=True)
    await wires.clock.advance(0.001)
    for n, kept in ((1, False), (2, True), (3, False), (4, True), (2_002, True)):
        async with wires.there.subscribe(f"call-{n}") as messages:
            assert await hears_nothing(wires, messages) is not kept


async def test_who_is_too_slow_is_cut_off_and_delays_nobody(wires: Wires) -> None:
    async with wires.there.subscribe(CALL) as slow, wires.there.subscribe(CALL) as quick:
        await wires.settle()
        for n in range(1_001):
            wires.here.publish(CALL, b"%d" % n)
            if n % 5 == 0:
                await wires.settle()
                assert (await take(quick, 5 if n else 1))[-1] == b"%d" % n
        wires.here.publish(CALL, b"last")
        assert await take(quick, 1) == [b"last"]
        async with asyncio.timeout(5):
            assert [message async for message in slow] == []
    await wires.clock.advance(0.001)
    async with wires.there.subscribe(CALL) as anew:
        await wires.settle()
        wires.here.publish(CALL, b"anew")
        assert await take(anew, 1) == [b"anew"]


@pytest.mark.parametrize("channel", ["", "a b/ü\n\0", "\ud800", "x" * 1_000])
@pytest.mark.parametrize("message", [b"", b"\0\xff", b"x" * 60_000])
async def test_any_channel_and_any_message_pass(wires: Wires, channel: str, message: bytes) -> None:
    async with wires.there.subscribe(channel) as messages:
        await wires.settle()
        wires.here.publish(channel, message)
        assert await take(messages, 1) == [message]


async def test_five_hundred_channels_keep_apart(wires: Wires) -> None:
    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(wires.there.subscribe(f"call-{n}")) for n in range(500)]
        await wires.settle()
        for turn in range(3):
            for n in range(500):
                wires.here.publish(f"call-{n}", b"%d of %d" % (turn, n))
        for n, messages in enumerate(heard):
            assert await take(messages, 3) == [b"%d of %d" % (turn, n) for turn in range(3)]
