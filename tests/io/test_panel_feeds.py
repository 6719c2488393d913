from __future__ import annotations

import asyncio

import pytest
from panel_parts import CALL, EVENT, HandClock, Log, card, gateway, line, not_cut, open_bench, screen, settle, told

from bridge.core.sse import KEEP_ALIVE
from bridge.errors import RejectedError
from bridge.io.bus import LocalBus
from bridge.io.panel import PanelLine
from bridge.io.panel.feeds import BEAT, KEEP, RELISTEN, RETRY, Feeds


async def test_all_that_waits_is_one_block() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            assert await anext(blocks) == RETRY
            assert [event for event, _ in told(await anext(blocks))] == ["reset"]
            for n in range(50):
                bench.bus.publish(CALL, card("x" * (n + 1)))
            assert len(told(await anext(blocks))) == 50


async def test_a_view_that_the_ring_overtakes_ends_and_others_go_on() -> None:
    async with open_bench(frames=10) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as slow, bench.feeds.watch(CALL, "", not_cut) as quick:
            behind, along = aiter(slow), aiter(quick)
            for blocks in (behind, along):
                await anext(blocks)
                await anext(blocks)
            for n in range(11):
                bench.bus.publish(CALL, card("x" * (n + 1)))
                assert told(await anext(along))
            assert [block async for block in behind] == []


async def test_nudges_during_a_reading_are_one_more_reading() -> None:
    async with open_bench(log=Log(gate=asyncio.Event())) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            await settle()
            for n in range(1, 6):
                bench.log.lines.append(line(n))
                bench.bus.publish(CALL, EVENT)
                await settle()
            assert bench.log.readings == 1
            assert bench.log.gate
            bench.log.gate.set()
            await settle()
            assert bench.log.readings == 2
            blocks = aiter(view)
            assert screen(await anext(blocks), await anext(blocks)).lines.keys() == {1, 2, 3, 4, 5}


async def test_a_card_does_not_wait_for_a_slow_reading() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            bench.log.gate = asyncio.Event()
            bench.bus.publish(CALL, EVENT)
            bench.bus.publish(CALL, card("It"))
            assert [event for event, _ in told(await anext(blocks))] == ["card"]


async def test_a_reading_that_finds_nothing_new_sends_nothing() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            waiting = asyncio.ensure_future(anext(blocks))
            bench.bus.publish(CALL, EVENT)
            await settle()
            assert bench.log.readings == 2
            assert not waiting.done()
            bench.bus.publish(CALL, card("It"))
            assert [event for event, _ in told(await waiting)] == ["card"]


async def test_a_quiet_stream_beats() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            for _ in range(5):
                await bench.clock.advance(BEAT)
                assert await anext(blocks) == KEEP_ALIVE


async def test_a_browser_that_takes_nothing_for_a_whole_beat_is_cut_off() -> None:
    cut: list[str] = []
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", lambda: cut.append("now")) as view:
            await anext(aiter(view))
            await settle()
            await bench.clock.advance(BEAT)
            assert cut == []
            await bench.clock.advance(BEAT)
            assert cut == ["now"]


async def test_a_feed_is_kept_for_a_while_after_the_last_viewer_left() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut):
            await settle()
        await bench.clock.advance(KEEP - 1)
        assert CALL in bench.bus._listening
        await bench.clock.advance(BEAT)
        await settle()
        assert bench.bus._listening == {}
        assert not bench.feeds._kept


async def test_a_feed_that_is_watched_or_spoken_to_is_in_use() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            for _ in range(3):
                await bench.clock.advance(KEEP)
                assert await anext(blocks) == KEEP_ALIVE
        await bench.clock.advance(KEEP - 1)
        bench.bus.publish(CALL, EVENT)
        await settle()
        await bench.clock.advance(KEEP - 1)
        assert CALL in bench.feeds._kept
        await bench.clock.advance(1 + BEAT)
        assert CALL not in bench.feeds._kept


async def test_a_stream_beats_while_the_first_reading_takes_its_time() -> None:
    async with open_bench(log=Log([line(1)], gate=asyncio.Event())) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await settle()
            await bench.clock.advance(BEAT)
            assert await anext(blocks) == KEEP_ALIVE
            assert bench.log.gate
            bench.log.gate.set()
            assert screen(await anext(blocks)).lines == {1: "Hello"}


async def test_the_least_recently_used_feed_makes_room_and_a_watched_one_never() -> None:
    async with open_bench(limit=2) as bench:
        with bench.feeds.watch("watched", "", not_cut):
            for conversation in ("one", "other"):
                with bench.feeds.watch(conversation, "", not_cut):
                    await settle()
            await settle()
            assert bench.bus._listening.keys() == {"watched", "other"}
            with (
                bench.feeds.watch("other", "", not_cut),
                pytest.raises(RejectedError) as refused,
                bench.feeds.watch("third", "", not_cut),
            ):
                pass
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "too_many_panels", 5)


async def test_who_just_left_is_the_last_to_lose_their_feed() -> None:
    async with open_bench(limit=2) as bench:
        with bench.feeds.watch("long", "", not_cut):
            await settle()
            with bench.feeds.watch("short", "", not_cut):
                await settle()
        with bench.feeds.watch("new", "", not_cut):
            await settle()
            assert bench.bus._listening.keys() == {"long", "new"}


async def test_a_bus_that_cuts_us_off_costs_the_card_and_no_line() -> None:
    async with open_bench(bus=LocalBus(limit=1)) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            seen = [await anext(blocks)]
            for message in (card("It"), gateway("down")):
                bench.bus.publish(CALL, message)
                seen.append(await anext(blocks))
            for _ in range(3):
                bench.bus.publish(CALL, EVENT)
            seen.append(await anext(blocks))
            assert screen(*seen).card is None
            assert screen(*seen).reachable
            bench.log.lines.append(line(1))
            await bench.clock.advance(RELISTEN)
            bench.bus.publish(CALL, card("It left"))
            await settle()
            seen.append(await anext(blocks))
    shown = screen(*seen)
    assert shown.lines == {1: "Hello"}
    assert shown.card is not None
    assert shown.card["text"] == "It left"


async def test_a_reading_that_fails_ends_the_stream_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def read(_: str) -> list[PanelLine]:
        raise OSError("the disk is gone")

    feeds = Feeds(read, LocalBus(), HandClock())
    with feeds.watch(CALL, "", not_cut) as view:
        assert [block async for block in view] == [RETRY]
    assert not feeds._kept
    assert [record.__dict__["action"] for record in caplog.records] == ["panel_failed"]
