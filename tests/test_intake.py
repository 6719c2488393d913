"""Where all doors end: one fact is stored once, and a conversation ends once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, evolve, field
from bridge_parts import Stand, listening, open_stand

from bridge.context import Context
from bridge.core.codec import dump
from bridge.core.events import ConversationEnded, CustomerLeft, Utterance
from bridge.core.genesys import parse
from bridge.errors import PayloadError
from bridge.intake import Intake
from bridge.ports import Appended, Arrival, Engine, Stored

TALK, LEG = "9054f85d-70f4-531d-8b29-6051fff97da4", "cc0e5f1f-258c-5f31-b7f8-e6934ee37920"
ANN, BOB = "5f86543b-6158-5ef9-bbe4-ad01d5eef0f6", "7186543b-6158-5ef9-bbe4-ad01d5eef0f7"


def customer(what: str, participant: str = ANN) -> dict[str, Any]:
    return {
        "topicName": f"v2.detail.events.conversation.{TALK}.customer.{what}",
        "version": "2",
        "eventBody": {"eventTime": 1_772_442_900_000, "conversationId": TALK, "participantId": participant},
        "metadata": {},
    }


def words(text: str = "four one five") -> dict[str, Any]:
    return {
        "topicName": f"v2.conversations.{TALK}.transcription",
        "version": "2",
        "eventBody": {
            "eventTime": "2026-03-02T09:15:13.829Z",
            "conversationId": TALK,
            "communicationId": LEG,
            "sessionStartTimeMs": 1_772_442_900_000,
            "transcripts": [
                {
                    "utteranceId": ANN,
                    "isFinal": True,
                    "channel": "EXTERNAL",
                    "alternatives": [{"confidence": 0.9, "offsetMs": 10, "durationMs": 20, "transcript": text}],
                }
            ],
        },
        "metadata": {},
    }


def wrapped(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The same fact as EventBridge hands it over."""
    return {
        "version": "0", "id": "x", "detail-type": "v2", "source": "aws.partner/genesys.com",
        "time": "2026-03-02T09:15:14Z", "detail": {**envelope, "timestamp": "2026-03-02T09:15:14.000Z"},
    }  # fmt: skip


@define
class Watched:
    """The real engine; notes what each append holds."""

    engine: Engine
    writes: list[list[str]] = field(factory=list)

    async def append(self, arrivals: Sequence[Arrival]) -> list[Appended]:
        self.writes.append([arrival.kind for arrival in arrivals])
        return await self.engine.append(arrivals)

    async def history(self, conversation: str) -> list[Stored]:
        return await self.engine.history(conversation)


@define
class Door:
    stand: Stand
    intake: Intake

    async def kinds(self) -> list[str]:
        return [stored.kind for stored in await self.stand.engine.events()]


@asynccontextmanager
async def open_door(folder: Path) -> AsyncIterator[Door]:
    async with open_stand(folder) as stand:
        yield Door(stand, Intake(stand.engine, stand.router, stand.bus, stand.clock, stand.notes))


async def test_one_fact_through_two_wrappings_is_stored_once(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        first, again = await door.intake(words()), await door.intake(wrapped(words()))
        assert first.id == again.id == f"{TALK}:{LEG}:{ANN}"
        assert (first.duplicate, again.duplicate) == (False, True)
        assert await door.kinds() == ["Utterance"]
        assert len(door.stand.notes.of("stored")) == len(door.stand.notes.of("repeated")) == 1


async def test_a_repeated_envelope_runs_no_handler_again(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:

        @door.stand.router.on(Utterance)
        async def on_said(_: Utterance, __: Context) -> None: ...

        for _ in range(3):
            await door.intake(words())
        assert [one.handler for one in await door.stand.engine.deliveries()] == ["h.on_said"]


async def test_the_panel_hears_of_what_is_new_only(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, listening(door.stand.bus, TALK) as heard:
        await door.intake(words())
        await door.intake(words())
        await door.stand.clock.settle()
        assert heard() == [{"type": "event"}]


async def test_a_conversation_ends_once_when_its_last_customer_has_left(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        for what, who in (("start", ANN), ("start", BOB), ("end", ANN)):
            await door.intake(customer(what, who))
        assert "ConversationEnded" not in await door.kinds()
        await door.intake(customer("end", BOB))
        await door.intake(customer("end", BOB))
        await door.intake(customer("end", ANN))
        assert (await door.kinds()).count("ConversationEnded") == 1


async def test_two_that_leave_at_the_same_time_end_it_once(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        for who in (ANN, BOB):
            await door.intake(customer("start", who))
        await asyncio.gather(*(door.intake(customer("end", who)) for who in (ANN, BOB)))
        assert (await door.kinds()).count("ConversationEnded") == 1


async def test_a_crash_between_leaving_and_the_end_is_made_good_when_it_is_told_again(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:

        @door.stand.router.on(ConversationEnded)
        async def on_end(_: ConversationEnded, __: Context) -> None: ...

        (left,) = parse(customer("end"))
        assert isinstance(left, CustomerLeft)
        kind, body = dump(left)
        await door.stand.engine.append([Arrival(left.id, TALK, kind, body, 0)])
        assert (await door.intake(customer("end"))).duplicate
        assert await door.kinds() == ["CustomerLeft", "ConversationEnded"]
        assert [one.handler for one in await door.stand.engine.deliveries()] == ["h.on_end"]


async def test_the_last_leaving_and_the_end_are_stored_in_one_write(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        watched = Watched(door.stand.engine)
        intake = evolve(door.intake, engine=cast("Engine", watched))
        await intake(customer("start"))
        await intake(customer("end"))
        assert watched.writes == [["ConversationStarted"], ["CustomerLeft", "ConversationEnded"]]


async def test_a_control_frame_is_refused(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        with pytest.raises(PayloadError, match="control frame") as raised:
            await door.intake({"message": "pong"})
        assert (raised.value.status, raised.value.code) == (422, "payload")
        assert await door.kinds() == []


async def test_what_nobody_handles_is_noted_once_with_what_to_paste(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await door.intake(words("one"))
        await door.intake(customer("start"))
        await door.intake(customer("start", BOB))
        notes = door.stand.notes.of("unhandled")
        assert [note["kind"] for note in notes] == ["Utterance", "ConversationStarted"]
        assert notes[0]["paste"] == (
            "@router.on(Utterance)\nasync def on_utterance(event: Utterance, ctx: Context) -> None: ..."
        )


async def test_a_filter_that_raises_closes_no_door(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:

        @door.stand.router.on(Utterance, when=lambda event: bool(event.text.split()[99]))
        async def on_said(_: Utterance, __: Context) -> None: ...

        assert not (await door.intake(words())).duplicate
        assert [one.state for one in await door.stand.engine.deliveries()] == ["waiting"]


async def test_it_came_when_it_came_or_when_the_recording_says(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await door.intake(customer("start"))
        await door.intake(words(), received_ms=5)
        assert [one.received_ms for one in await door.stand.engine.events()] == [door.stand.clock.now_ms(), 5]


async def test_no_word_of_an_envelope_is_noted(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await door.intake(words("sesame"))
        assert "sesame" not in str(door.stand.notes.taken)
