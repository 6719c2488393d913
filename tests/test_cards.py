"""Cards on the panel: what the agent sees, when, and what becomes of a card that is not wanted any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bridge_parts import FakeGateway, Stand, listening, open_stand, said, until

from bridge.cards import digest
from bridge.context import Context
from bridge.core.events import Utterance
from bridge.core.masking import Kind
from bridge.errors import GatewayError

PHONE = "415-555-0100"


async def suggested(
    stand: Stand, text: str, *, age_ms: int = 0, posts: int = 0, of: str = "card"
) -> list[dict[str, Any]]:
    """What the panel was told of one suggestion for these words: of its card, or of the gateway."""

    @stand.router.on(Utterance)
    async def on_said(event: Utterance, ctx: Context) -> None:
        card = ctx.card(based_on=event)
        async for piece in ctx.ask("suggest", question=event.text):
            card.write(piece)
        ctx.callback("crm", "shown", text=card.text)

    await stand.tell(said("u1", text))
    stand.clock.start_ms += age_ms
    async with listening(stand.bus) as heard, stand.working():
        await until(lambda: stand.notes.of("finished") or stand.notes.of("parked"))
        await stand.noted("delivered", posts)
        await stand.clock.settle()
        return [message for message in heard() if message["type"] == of]


async def test_a_card_grows_and_is_ready_with_its_whole_text(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        told = await suggested(stand, "hello there", posts=1)
        whole = "Let me look, and tell you."
        assert [one["state"] for one in told[-2:]] == ["open", "ready"]
        assert all(whole.startswith(one["text"]) for one in told)
        assert told[-1] == {
            "type": "card",
            "card": "u1:h.on_said:card1",
            "state": "ready",
            "text": whole,
            "based_on": ["u1"],
        }
        (record,) = await stand.cards()
        assert (record.state, record.fields["text_sha256"]) == ("ready", digest(whole))
        assert whole not in str(record)


async def test_the_text_of_a_card_is_whole_for_the_callback_though_its_last_word_is_still_held(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await suggested(stand, "hello there", posts=1)
        assert b'"text":"Let me look, and tell you."' in stand.crm.got[0].payload


@pytest.mark.parametrize(("unmask", "shown"), [(set(), "[PHONE_1]"), ({Kind.PHONE}, PHONE), ({Kind.CARD}, "[PHONE_1]")])
async def test_the_agent_sees_what_the_policy_allows_and_the_crm_never_does(
    tmp_path: Path, unmask: set[Kind], shown: str
) -> None:
    gateway = FakeGateway(pieces=["I call [PHO", "NE_1", "] for you."])
    async with open_stand(tmp_path, gateway=gateway, unmask=frozenset(unmask)) as stand:
        told = await suggested(stand, f"call {PHONE}", posts=1)
        assert told[-1]["text"] == f"I call {shown} for you."
        assert b"I call [PHONE_1] for you." in stand.crm.got[0].payload


async def test_a_number_that_the_model_made_up_is_masked_and_is_no_number_of_the_conversation(tmp_path: Path) -> None:
    gateway = FakeGateway(pieces=["Is it 212-", "555-0199", " then?"])
    async with open_stand(tmp_path, gateway=gateway) as stand:
        told = await suggested(stand, f"call {PHONE}", posts=1)
        assert told[-1]["text"] == "Is it [PHONE_100001] then?"
        assert b"Is it [PHONE_100001] then?" in stand.crm.got[0].payload
        assert not any("212" in one["text"] or "0199" in one["text"] for one in told)


async def test_a_late_card_never_shows_a_word(tmp_path: Path) -> None:
    gateway = FakeGateway()
    async with open_stand(tmp_path, gateway=gateway, late_ms=8_000) as stand:
        told = await suggested(stand, "hello there", age_ms=8_001)
        assert [(one["state"], one["text"]) for one in told] == [("expired", "")]
        assert [card.state for card in await stand.cards()] == ["expired"]
        assert await stand.engine.callbacks() == []
        assert gateway.left == 1
        assert (await stand.engine.spent("conversation:talk"))[1] == 0


async def test_a_card_that_is_just_in_time_is_shown(tmp_path: Path) -> None:
    async with open_stand(tmp_path, late_ms=8_000) as stand:
        assert (await suggested(stand, "hello there", age_ms=8_000, posts=1))[-1]["state"] == "ready"


async def test_an_empty_answer_is_no_card(tmp_path: Path) -> None:
    async with open_stand(tmp_path, gateway=FakeGateway(pieces=[])) as stand:
        assert [one["state"] for one in await suggested(stand, "hello there", posts=1)] == ["withheld"]


async def test_a_card_whose_gateway_is_down_says_so(tmp_path: Path) -> None:
    async with open_stand(tmp_path, gateway=FakeGateway(refusal=GatewayError("down"))) as stand:
        assert [(one["state"], one["text"]) for one in await suggested(stand, "hello")] == [("failed", "")]


async def test_a_callback_that_cannot_be_made_leaves_one_card_that_failed(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, ctx: Context) -> None:
            ctx.card(based_on=event).write("Let me look and tell you. ")
            ctx.callback("crm", "shown", what=object())

        await stand.tell(said("u1"))
        async with listening(stand.bus) as heard, stand.working():
            await stand.noted("parked")
            await stand.clock.settle()
            assert [one["state"] for one in heard()][-1] == "failed"
        assert [note["state"] for note in stand.notes.of("card")] == ["failed"]


async def test_the_panel_hears_that_the_gateway_is_down_and_that_it_is_up(tmp_path: Path) -> None:
    down = FakeGateway(refusal=GatewayError("down"))
    async with open_stand(tmp_path / "down", gateway=down) as stand:
        assert await suggested(stand, "hello there", of="gateway") == [{"type": "gateway", "state": "down"}]
    async with open_stand(tmp_path / "up") as stand:
        assert await suggested(stand, "hello there", posts=1, of="gateway") == [{"type": "gateway", "state": "up"}]
