from __future__ import annotations

import asyncio
from pathlib import Path

from bridge_parts import open_stand, said

from bridge.ports import Arrival
from bridge.transcripts import BATCH, Transcripts


async def test_a_transcript_grows_with_the_log(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        transcripts = Transcripts(stand.engine)
        await stand.tell(said("u1", "one apple"))
        first = await transcripts.of("talk")
        await stand.tell(said("x", "elsewhere", conversation="other"), said("u2", "two pears", start_ms=9_000))
        assert await transcripts.of("talk") is first
        assert [line.text.text for line in first.lines()] == ["one apple", "two pears"]


async def test_many_who_ask_at_once_get_every_line_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        transcripts = Transcripts(stand.engine)
        await stand.tell(*(said(f"u{n}", f"turn {n}", start_ms=n) for n in range(20)))
        several = await asyncio.gather(*(transcripts.of("talk") for _ in range(5)))
        assert {id(one) for one in several} == {id(several[0])}
        assert [line.event for line in several[0].lines()] == [f"u{n}" for n in range(20)]


async def test_a_log_of_more_than_one_page_is_read_to_its_end(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.tell(*(said(f"u{n}", "hello", start_ms=n) for n in range(BATCH + 1)))
        assert len((await Transcripts(stand.engine).of("talk")).lines()) == BATCH + 1


async def test_what_was_forgotten_is_read_again_the_same(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        transcripts = Transcripts(stand.engine, limit=2)
        for talk in ("a", "b", "c"):
            await stand.tell(said(f"u{talk}", "call 415-555-0100", conversation=talk))
        first = await transcripts.of("a")
        for talk in ("b", "c"):
            await transcripts.of(talk)
        assert len(transcripts._kept) == 2
        again = await transcripts.of("a")
        assert again is not first
        assert again.lines() == first.lines()


async def test_a_class_that_only_a_newer_version_knows_is_passed_over(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.engine.append([Arrival("n1", "talk", "Newer", b"{}", 0)])
        await stand.tell(said("u1", "one apple"))
        await stand.engine.append([Arrival("n2", "talk", "Newer", b"{}", 0)])
        async with asyncio.timeout(5):
            transcript = await Transcripts(stand.engine).of("talk")
        assert [line.event for line in transcript.lines()] == ["u1"]


async def test_events_of_no_conversation_are_nobodys_transcript(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.tell(said("u1"), said("u2", conversation=""))
        assert (await Transcripts(stand.engine).of("")).lines() == []
