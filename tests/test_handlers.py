"""The handlers that come along, with the shipped prompts and the simulated gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from bridge_parts import FakeGateway, Stand, open_stand, said, until

import handlers
from bridge import ConversationEnded, TranscriptionStatus, Utterance
from bridge.io.gateway import open_gateway
from bridge.ports import Usage
from bridge.settings import GatewaySettings
from bridge.shipped import load_prompts
from bridge.sim.clock import FakeClock
from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.serving import open_app
from handlers.assist import asks_for_a_reply
from handlers.summary import sections

ENDED = ConversationEnded(id="talk:ended", conversation="talk", at_ms=60_000)


def over(status: str = "SESSION_ENDED") -> TranscriptionStatus:
    return TranscriptionStatus(id=status, conversation="talk", at_ms=0, communication="leg", status=status)


@asynccontextmanager
async def open_house(folder: Path, **parts: Any) -> AsyncIterator[Stand]:
    async with open_stand(folder, router=handlers.router, prompts=load_prompts(), **parts) as stand:
        yield stand


def payloads(stand: Stand) -> list[dict[str, Any]]:
    return [orjson.loads(callback.payload) for callback in stand.crm.got]


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (said("u", "where is my card"), True),
        (said("u", "yeah right"), False),
        (said("u", "where is my card", speaker="agent"), False),
        (said("u", "where is my card", final=False), False),
    ],
)
def test_only_finished_words_of_the_customer_ask_for_a_reply(event: Utterance, *, wanted: bool) -> None:
    assert asks_for_a_reply(event) is wanted


async def test_a_call_is_suggested_and_summed_up_through_the_gateway(tmp_path: Path) -> None:
    sim, clock = SimGateway(), FakeClock()
    async with (
        open_app(make_gateway(sim)) as url,
        open_gateway(GatewaySettings(url=url), clock=clock, random=lambda: 0.5) as gateway,
        open_house(tmp_path, clock=clock, gateway=gateway) as stand,
    ):
        await stand.tell(said("u1", "I lost my card, can you help me?"), over(), ENDED)
        async with stand.working():
            await stand.noted("delivered", 2)
        shown, summed = sorted(payloads(stand), key=lambda told: told["type"], reverse=True)
        assert (shown["type"], shown["data"]["outcome"]) == ("suggestion.shown", "complete")
        assert shown["data"]["text"].endswith("?")
        assert summed["type"] == "conversation.summarized"
        assert summed["data"]["reason"]
        assert summed["data"]["outcome_of_model"] == "complete"
        assert sim.billed == 2


async def test_the_summary_waits_for_the_last_words(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway=FakeGateway(pieces=["Reason: x."])) as stand:
        await stand.tell(over("SESSION_ONGOING"), said("u1", "bye", speaker="agent"), ENDED)
        async with stand.working():
            await stand.parked(0.5)
            assert stand.gateway.asked == []  # type: ignore[attr-defined]
            await stand.tell(said("u2", "one late word", speaker="agent"), over())
            await stand.clock.advance(0.5)
            await stand.noted("delivered")
        assert "one late word" in stand.gateway.sent()  # type: ignore[attr-defined]
        assert payloads(stand)[0]["data"]["reason"] == "x."


async def test_the_summary_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway=FakeGateway(pieces=["Reason: x."])) as stand:
        await stand.tell(over("SESSION_ONGOING"), said("u1", "bye", speaker="agent"), ENDED)
        stand.clock.start_ms += 30_000
        async with stand.working():
            await stand.noted("delivered")


async def test_a_conversation_without_words_is_not_summed_up(tmp_path: Path) -> None:
    async with open_house(tmp_path) as stand:
        await stand.tell(ENDED)
        async with stand.working():
            await stand.noted("finished")
        assert stand.gateway.asked == []  # type: ignore[attr-defined]


async def test_half_a_summary_is_tried_again_and_not_posted(tmp_path: Path) -> None:
    gateway = FakeGateway(outcome="incomplete", usage=Usage(1, 1))
    async with open_house(tmp_path, gateway=gateway) as stand:
        await stand.tell(said("u1", "bye", speaker="agent"), over(), ENDED)
        async with stand.working():
            await stand.parked(1.0)
            gateway.outcome = "cut"
            await stand.clock.advance(1.0)
            await stand.noted("delivered")
            await until(lambda: len(stand.crm.got) == 1)
        assert payloads(stand)[0]["data"]["outcome_of_model"] == "cut"


async def test_an_empty_note_is_dead_and_not_posted_nor_asked_for_and_billed_again(tmp_path: Path) -> None:
    gateway = FakeGateway(pieces=("", " "))
    async with open_house(tmp_path, gateway=gateway) as stand:
        await stand.tell(said("u1", "bye", speaker="agent"), over(), ENDED)
        async with stand.working():
            await stand.noted("dead")
        assert (len(gateway.asked), stand.crm.got) == (1, [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Reason: a card.\nActions: blocked it.\nOutcome: fine.\nFollow-up: None agreed.",
            {"reason": "a card.", "actions": "blocked it.", "outcome": "fine.", "follow_up": "None agreed."},
        ),
        ("Reason: a\nb: c\nOutcome:", {"reason": "a\nb: c", "actions": "", "outcome": "", "follow_up": ""}),
        ("No heading at all. ", {"reason": "No heading at all.", "actions": "", "outcome": "", "follow_up": ""}),
        ("", {"reason": "", "actions": "", "outcome": "", "follow_up": ""}),
    ],
)
def test_sections_of_a_note(text: str, found: dict[str, str]) -> None:
    assert sections(text) == found
