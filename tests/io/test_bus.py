from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from bridge.io.bus import LocalBus
from bridge.ports import Bus

CHANNEL = "conversation-1"


async def take(messages: AsyncIterator[bytes], count: int) -> list[bytes]:
    return [await anext(messages) for _ in range(count)]


async def test_every_subscriber_of_the_channel_gets_every_message_in_order() -> None:
    bus: Bus = LocalBus()
    async with bus.subscribe(CHANNEL) as one, bus.subscribe(CHANNEL) as other:
        for n in range(3):
            bus.publish(CHANNEL, b"%d" % n)
        assert await take(one, 3) == await take(other, 3) == [b"0", b"1", b"2"]


async def test_other_channels_and_earlier_messages_are_not_heard() -> None:
    bus = LocalBus()
    bus.publish(CHANNEL, b"before")
    async with bus.subscribe(CHANNEL) as messages:
        bus.publish("conversation-2", b"elsewhere")
        bus.publish(CHANNEL, b"now")
        assert await anext(messages) == b"now"


async def test_who_waits_is_woken_by_the_message() -> None:
    bus = LocalBus()
    async with bus.subscribe(CHANNEL) as messages, asyncio.TaskGroup() as group:
        waiting = group.create_task(take(messages, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish(CHANNEL, b"at last")
    assert waiting.result() == [b"at last"]


async def test_who_is_too_slow_is_cut_off_and_delays_nobody() -> None:
    bus = LocalBus(limit=2)
    async with bus.subscribe(CHANNEL) as slow, bus.subscribe(CHANNEL) as quick:
        for n in range(4):
            bus.publish(CHANNEL, b"%d" % n)
            assert await anext(quick) == b"%d" % n
        assert [message async for message in slow] == []


async def test_who_was_cut_off_may_listen_anew() -> None:
    bus = LocalBus(limit=1)
    async with bus.subscribe(CHANNEL) as slow:
        bus.publish(CHANNEL, b"1")
        bus.publish(CHANNEL, b"2")
        bus.publish(CHANNEL, b"3")
        assert [message async for message in slow] == []
    async with bus.subscribe(CHANNEL) as anew:
        bus.publish(CHANNEL, b"4")
        assert await anext(anew) == b"4"


async def test_nothing_is_kept_for_a_channel_that_nobody_listens_to() -> None:
    bus = LocalBus()
    async with bus.subscribe(CHANNEL), bus.subscribe(CHANNEL):
        pass
    bus.publish(CHANNEL, b"to nobody")
    assert bus._listening == {}


@given(
    limit=st.integers(min_value=1, max_value=5),
    steps=st.lists(st.sampled_from(["publish", "read"]), max_size=40),
)
async def test_a_subscriber_hears_all_without_a_gap_until_it_is_cut_off(limit: int, steps: list[str]) -> None:
    bus, sent, heard, behind = LocalBus(limit), 0, 0, 0
    async with bus.subscribe(CHANNEL) as messages:
        for step in steps:
            if step == "publish":
                bus.publish(CHANNEL, b"%d" % sent)
                sent, behind = sent + 1, behind + 1
            if behind > limit:
                assert [message async for message in messages] == []
                return
            if step == "read" and behind:
                assert await anext(messages) == b"%d" % heard
                heard, behind = heard + 1, behind - 1
