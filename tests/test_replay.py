"""Recorded events through the same intake: whole, in order, at their time, and on from where it was cut off."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.app import Bridge, open_bridge
from bridge.core.genesys.fields import iso
from bridge.ports import Arrival
from bridge.replay import WINDOW, Read, ReplayClock, feed, first_ms, read_recording, until_idle
from bridge.settings import EngineSettings, Handlers, Settings

START = 1_772_442_900_000


def line(at_ms: int, participant: str, talk: str = "talk") -> dict[str, Any]:
    return {
        "receivedAt": iso(START + at_ms),
        "topicName": f"v2.detail.events.conversation.{talk}.customer.start",
        "eventBody": {"eventTime": START + at_ms, "conversationId": talk, "participantId": participant},
    }


def record(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    raw = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@asynccontextmanager
async def open_still(folder: Path, *handlers: str) -> AsyncIterator[Bridge]:
    """A bridge that takes in, and works on nothing."""
    settings = Settings(
        engine=EngineSettings(path=str(folder / "bridge.db"), partitions=4), handlers=Handlers(enabled=handlers)
    )
    async with open_bridge(settings, roles=[]) as bridge:
        yield bridge


class Noted(ReplayClock):
    """A clock for which every wait is over at once, and that remembers what was waited for."""

    def __init__(self) -> None:
        super().__init__(START, 1_000.0)
        self.waited: list[int] = []
        self.jumped: list[int] = []

    async def until(self, when_ms: int) -> None:
        self.waited.append(when_ms - START)

    def jump(self, when_ms: int) -> None:
        self.jumped.append(when_ms - START)


async def play(bridge: Bridge, *paths: Path, clock: ReplayClock | None = None, together: bool = False) -> Read:
    return await feed(bridge, paths, clock, lambda _: None, together=together)


async def stored(bridge: Bridge) -> Sequence[str]:
    return [event.id.split(":")[-2] for event in await bridge.engine.events(limit=WINDOW * 2)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_recording_is_read_plain_or_packed_and_a_bad_line_is_named(tmp_path: Path, name: str) -> None:
    path = record(tmp_path / name, line(0, "a"), b"{broken", b"", line(5, "b"))
    refused: list[str] = []
    assert [one.received_ms for one in read_recording(path, refused)] == [START, START + 5]
    assert len(refused) == 1
    assert refused[0].startswith(f"{path}:2: ")


def test_the_first_moment_is_that_of_the_earliest_recording(tmp_path: Path) -> None:
    late, early = record(tmp_path / "l.jsonl", line(9, "a")), record(tmp_path / "e.jsonl", line(4, "b"))
    assert first_ms([late, early]) == START + 4
    assert first_ms([record(tmp_path / "none.jsonl")]) == 0


@pytest.mark.slow  # it takes more lines than the window holds
async def test_without_a_clock_every_line_is_taken_in_and_each_conversation_keeps_its_order(tmp_path: Path) -> None:
    many = WINDOW + 10
    path = record(tmp_path / "a.jsonl", *(line(n, f"{n}", f"talk{n % 3}") for n in range(many)))
    async with open_still(tmp_path) as bridge:
        told: list[int] = []
        read = await feed(bridge, [path], None, lambda read: told.append(read.lines))
        assert told == [WINDOW, many]
        assert (read.lines, read.repeated, len(read.events)) == (many, 0, many)
        names = await stored(bridge)
        assert len(names) == many
        for talk in range(3):
            mine = [int(name) for name in names if int(name) % 3 == talk]
            assert mine == sorted(mine)


async def test_what_follows_from_a_line_is_stored_before_the_conversations_next_line(tmp_path: Path) -> None:
    left = line(1, "a")
    left["topicName"] = left["topicName"].replace("start", "end")
    path = record(tmp_path / "a.jsonl", line(0, "a"), left, line(2, "b"))
    async with open_still(tmp_path) as bridge:
        await play(bridge, path)
        kinds = [event.kind for event in await bridge.engine.events()]
        assert kinds == ["ConversationStarted", "CustomerLeft", "ConversationEnded", "ConversationStarted"]


async def test_what_is_no_event_is_listed_by_its_topic_and_what_came_twice_is_counted(tmp_path: Path) -> None:
    wrong = {**line(1, "x"), "eventBody": {"conversationId": "talk"}}
    path = record(tmp_path / "a.jsonl", line(0, "a"), wrong, line(0, "a"), {"message": "pong"})
    async with open_still(tmp_path) as bridge:
        read = await play(bridge, path)
        assert (read.lines, read.repeated) == (4, 1)
        assert [told.partition(": ")[0] for told in read.refused] == [wrong["topicName"], "a line without topicName"]
        assert await stored(bridge) == ["a"]


async def test_with_a_clock_each_line_has_its_time_and_files_are_interleaved(tmp_path: Path) -> None:
    one = record(tmp_path / "1.jsonl", line(0, "a"), line(200, "c"))
    two = record(tmp_path / "2.jsonl.gz", line(100, "b", "other"), line(300, "d", "other"))
    async with open_still(tmp_path) as bridge:
        clock = Noted()
        await play(bridge, one, two, clock=clock)
        assert clock.waited == [0, 100, 200, 300]
        assert await stored(bridge) == ["a", "b", "c", "d"]
        assert [event.received_ms - START for event in await bridge.engine.events()] == [0, 100, 200, 300]


async def test_together_all_recordings_begin_at_the_same_time(tmp_path: Path) -> None:
    one = record(tmp_path / "1.jsonl", line(0, "a"), line(200, "c"))
    two = record(tmp_path / "2.jsonl", line(90_100, "b", "other"), line(90_250, "d", "other"))
    async with open_still(tmp_path) as bridge:
        clock = Noted()
        await play(bridge, one, two, clock=clock, together=True)
        assert clock.waited == [0, 0, 150, 200]


async def test_a_replay_that_was_cut_off_goes_on_without_waiting_for_what_is_stored(tmp_path: Path) -> None:
    lines = [line(n * 1_000, name) for n, name in enumerate("abcd")]
    async with open_still(tmp_path) as bridge:
        await play(bridge, record(tmp_path / "part.jsonl", *lines[:2]))
    async with open_still(tmp_path) as bridge:
        clock = Noted()
        read = await play(bridge, record(tmp_path / "whole.jsonl", *lines), clock=clock)
        assert clock.jumped == [0, 1_000]
        assert clock.waited == [2_000, 3_000]
        assert (read.lines, read.repeated, len(read.events)) == (4, 2, 4)
        assert await stored(bridge) == ["a", "b", "c", "d"]


async def test_of_a_long_silence_a_minute_is_kept() -> None:
    clock = ReplayClock(START, 2_000.0)
    await clock.until(START + 3_600_000)
    assert START + 3_600_000 <= clock.now_ms() < START + 3_700_000
    assert START + 3_400_000 < clock.origin_ms <= START + 3_540_000


async def test_a_jump_goes_on_and_never_back() -> None:
    clock = ReplayClock(START, 1.0)
    clock.jump(START + 5_000)
    clock.jump(START)
    assert START + 5_000 <= clock.now_ms() < START + 65_000


async def test_idle_is_when_nothing_waits_or_when_patience_ends(tmp_path: Path) -> None:
    async with open_still(tmp_path) as bridge:
        await play(bridge, record(tmp_path / "a.jsonl", line(0, "a")))
        async with asyncio.timeout(5):
            assert (await until_idle(bridge, 60.0, lambda _: None)).events == 1


@pytest.mark.slow  # it looks twice, 50 ms apart
async def test_patience_ends_when_nothing_moves(tmp_path: Path) -> None:

    async with open_still(tmp_path) as bridge:
        await bridge.engine.append([Arrival("u", "talk", "Utterance", b"{}", 0, (("h.x", "ordered"),))])
        async with asyncio.timeout(5):
            assert (await until_idle(bridge, 0.0, lambda _: None)).waiting == 1
