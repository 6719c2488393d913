"""What a handler can do, through a real gateway's door: what leaves is masked, what it costs is settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from bridge_parts import FakeGateway, FakeStream, Stand, open_stand, said, until

from bridge.asking import Asking, unbroken
from bridge.context import Context
from bridge.core.events import Unknown, Utterance
from bridge.core.masking import Masked
from bridge.core.retry import HANDLER_WAITS, Policy
from bridge.errors import BudgetError, ConfigError, GatewayError
from bridge.io.gateway import open_gateway
from bridge.ports import Engine, Inference, Reservation, Usage
from bridge.settings import Budgets, GatewaySettings, Model
from bridge.sim.clock import FakeClock
from bridge.sim.gateway import Faults, SimGateway, make_gateway
from bridge.sim.serving import open_app

Act = Callable[[Utterance, Context], Awaitable[object]]
ONCE = Policy(HANDLER_WAITS, tries=1)
MAIL, CARD, PHONE = "jane.doe@example.com", "4111 1111 1111 1111", "415-555-0100"


@asynccontextmanager
async def at_the_sim(folder: Path, sim: SimGateway, **parts: Any) -> AsyncIterator[Stand]:
    """A stand whose gateway is the simulated one, over HTTP."""
    clock = FakeClock()
    async with (
        open_app(make_gateway(sim)) as url,
        open_gateway(GatewaySettings(url=url, tries=1), clock=clock, random=lambda: 0.5) as gateway,
        open_stand(folder, clock=clock, gateway=gateway, **parts) as stand,
    ):
        yield stand


def inbox(sim: SimGateway) -> str:
    """Every byte that the gateway was posted."""
    return b"\n".join(sim._bodies.values()).decode()


async def run(stand: Stand, *texts: str, act: Act, on: str = "", posts: int = 0, **settings: Any) -> None:
    """Store these turns of the customer; `act` is the handler of the last one, or of the one named `on`.

    Returns when that is settled and so many callbacks are posted.
    """
    last = on or f"u{len(texts)}"

    @stand.router.on(Utterance, when=lambda event: event.id == last)
    async def on_said(event: Utterance, ctx: Context) -> None:
        await act(event, ctx)

    await stand.tell(*(said(f"u{n}", text, start_ms=n * 1_000) for n, text in enumerate(texts, 1)))
    async with stand.working(policy=ONCE, **settings):
        await until(lambda: stand.notes.of("finished") or stand.notes.of("dead"))
        await stand.noted("delivered", posts)


async def ask(event: Utterance, ctx: Context) -> None:
    await ctx.ask("suggest", question=event.text).text()


def payload(stand: Stand, at: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(stand.crm.got[at].payload)
    return told


async def settled(stand: Stand) -> tuple[int, int]:
    """(charged, reserved) of the conversation; the tenant's ledger must say the same."""
    day = "tenant:2023-11-14"
    assert await stand.engine.spent("conversation:talk") == await stand.engine.spent(day)
    return await stand.engine.spent("conversation:talk")


# --- what leaves for the model ------------------------------------------------------------------------------------


async def test_nothing_personal_reaches_the_gateway(tmp_path: Path) -> None:
    sim = SimGateway()
    async with at_the_sim(tmp_path, sim) as stand:
        await run(stand, f"my mail is {MAIL}", f"the card is {CARD}", f"call me at {PHONE}", act=ask)
        assert stand.notes.of("dead") == []
    sent = inbox(sim)
    for secret in ("jane.doe", "4111", "555-0100"):
        assert secret not in sent
    for placeholder in ("[EMAIL_1]", "[CARD_1]", "<question>call me at [PHONE_1]</question>"):
        assert placeholder in sent


async def test_a_number_that_began_a_turn_before_is_masked_in_the_question_and_the_callback_too(tmp_path: Path) -> None:
    gateway = FakeGateway()

    async def act(event: Utterance, ctx: Context) -> None:
        await ask(event, ctx)
        ctx.callback("crm", "noted", said=event.text)

    async with open_stand(tmp_path, gateway=gateway) as stand:
        await run(stand, "my social is", "33 66", act=act, posts=1)
        assert "33 66" not in gateway.sent()
        assert payload(stand)["data"]["said"] == "[SSN_1]"


async def test_the_prompt_is_the_same_again_after_a_restart_whatever_was_said_and_answered_since(
    tmp_path: Path,
) -> None:
    gateway = FakeGateway(pieces=["Is it 212-555-0199? "])
    for attempt in (1, 2):
        async with open_stand(tmp_path, gateway=gateway) as stand:

            @stand.router.on(Utterance, when=lambda event: event.id != "u2")
            async def on_said(event: Utterance, ctx: Context) -> None:
                text = await ctx.ask("suggest", question=event.text).text()
                ctx.card(based_on=event).write(text)
                ctx.callback("crm", "noted", text=text, own="646-555-0111")
                if event.id == "u3" and attempt == 1:  # noqa: B023 - the loop's body ends before the next
                    await asyncio.Event().wait()

            async with stand.working():
                if attempt == 1:
                    await stand.tell(said("u1", "hello"))
                    await stand.noted("finished")
                    await stand.tell(said("u2", f"call {PHONE}"), said("u3", "or 415-555-0177"))
                    await until(lambda: gateway.left == 2)
                else:
                    await stand.noted("finished")
    first, again = (one for one in gateway.asked if one.key.startswith("u3"))
    assert first == again
    assert "call [PHONE_1]" in first.messages[1].content.text
    assert "or [PHONE_2]" in first.messages[1].content.text


async def test_by_default_the_prompt_ends_at_the_event_and_whole_sees_what_came_since(tmp_path: Path) -> None:
    gateway = FakeGateway()

    async def act(event: Utterance, ctx: Context) -> None:
        await ask(event, ctx)
        await ctx.ask("summary", whole=True).text()

    async with open_stand(tmp_path, gateway=gateway) as stand:
        await run(stand, "one apple", "two pears", "three plums", act=act, on="u2")
    upto, whole = (one.messages[1].content.text for one in gateway.asked)
    assert "one apple" in upto
    assert "three plums" not in upto
    assert "three plums" in whole


async def test_events_of_no_conversation_see_nobodys_transcript(tmp_path: Path) -> None:
    gateway = FakeGateway()
    async with open_stand(tmp_path, gateway=gateway) as stand:

        @stand.router.on(Unknown)
        async def on_unknown(_: Unknown, ctx: Context) -> None:
            await ctx.ask("summary", whole=True).text()

        await stand.tell(
            said("u1", "a secret of somebody"), Unknown(id="x", conversation="", at_ms=0, topic="v2.other")
        )
        async with stand.working():
            await stand.noted("finished")
    assert "secret of somebody" not in gateway.sent()


async def test_a_models_own_output_limit_is_kept_and_reserved(tmp_path: Path) -> None:
    gateway = FakeGateway()
    async with open_stand(
        tmp_path, gateway=gateway, models={"gpt-4o-mini": Model(name="gpt-4o-mini", output=5)}
    ) as stand:
        await run(stand, "hello there", act=ask)
    assert gateway.asked[0].max_tokens == 5


async def test_a_prompt_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=lambda _, ctx: ctx.ask("sugest").text())
        assert "there is no sugest.toml; there are suggest, summary" in (await stand.delivery("u1")).error


async def test_a_value_that_the_handler_did_not_give_is_named(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=lambda _, ctx: ctx.ask("suggest").text())
        error = (await stand.delivery("u1")).error
        assert "prompts/suggest.toml: 'question' is undefined; the handler must give it to ask()" in error


# --- budgets and their settlement ---------------------------------------------------------------------------------


async def test_a_call_costs_what_the_gateway_counted_and_leaves_nothing_reserved(tmp_path: Path) -> None:
    sim = SimGateway()
    async with at_the_sim(tmp_path, sim) as stand:
        await run(stand, "hello there", act=ask)
        (record,) = await stand.engine.records()
        assert record.state == "complete"
        assert await settled(stand) == (record.fields["prompt_tokens"] + record.fields["completion_tokens"], 0)
        assert "hello" not in str(record)


async def test_a_cap_refuses_before_anything_is_posted(tmp_path: Path) -> None:
    gateway = FakeGateway()
    async with open_stand(tmp_path, gateway=gateway, budgets=Budgets(conversation=60, tenant_per_day=0)) as stand:
        refused: list[str] = []

        async def act(event: Utterance, ctx: Context) -> None:
            await ask(event, ctx)
            with pytest.raises(BudgetError, match="would pass a cap") as raised:
                await ask(event, ctx)
            refused.append(str(raised.value))

        await run(stand, "hello there", act=act)
        assert len(gateway.asked) == len(refused) == 1
        assert await stand.engine.spent("conversation:talk") == (47, 0)


async def leave(event: Utterance, ctx: Context) -> None:
    async for _ in ctx.ask("suggest", question=event.text):
        break


async def fail(event: Utterance, ctx: Context) -> None:
    async for _ in ctx.ask("suggest", question=event.text):
        raise ValueError("broken")


async def never_look(event: Utterance, ctx: Context) -> None:
    aiter(ctx.ask("suggest", question=event.text))


@pytest.mark.parametrize(("act", "charged"), [(ask, 47), (leave, 47), (fail, 47), (never_look, 0)])
async def test_every_way_out_settles_the_reservation_and_closes_the_stream(
    tmp_path: Path, act: Act, charged: int
) -> None:
    gateway = FakeGateway()
    async with open_stand(tmp_path, gateway=gateway) as stand:
        await run(stand, "hello there", act=act)
        assert await settled(stand) == (charged, 0)
        assert gateway.left == bool(charged)


async def test_a_gateway_that_refuses_costs_nothing(tmp_path: Path) -> None:
    async with open_stand(tmp_path, gateway=FakeGateway(refusal=GatewayError("down", retryable=False))) as stand:
        await run(stand, "hello there", act=ask)
        assert await settled(stand) == (0, 0)


async def test_a_stream_that_breaks_is_charged_and_recorded_as_incomplete(tmp_path: Path) -> None:
    async with at_the_sim(tmp_path, SimGateway(faults=Faults(break_after=2))) as stand:
        await run(stand, "hello there", act=ask)
        (record,) = await stand.engine.records()
        charged, reserved = await settled(stand)
        assert record.state == "incomplete"
        assert charged > 0
        assert reserved == 0


async def test_a_handler_that_is_timed_out_in_a_stream_leaves_nothing_reserved(tmp_path: Path) -> None:
    gateway = FakeGateway()
    gateway.hold(1)
    async with open_stand(tmp_path, gateway=gateway) as stand:
        await run(stand, "hello there", act=ask, timeout=0.05)
        assert await settled(stand) == (47, 0)
        assert gateway.left == 1


class SlowLedger:
    """An engine that is slow to reserve, and goes on doing so when whoever asked was cancelled, as the writer does."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.begun, self.done = engine, asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def reserve(self, reservation: Reservation) -> bool:
        self.begun.set()
        return await asyncio.shield(self._later(reservation))

    async def _later(self, reservation: Reservation) -> bool:
        await asyncio.sleep(0.01)
        granted = await self._engine.reserve(reservation)
        self.done.set()
        return granted


async def test_cancelled_while_tokens_are_set_aside_leaves_nothing_reserved(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ledger = SlowLedger(stand.engine)
        stand.engine = cast("Engine", ledger)

        @stand.router.on(Utterance, mode="latest")
        async def on_said(event: Utterance, ctx: Context) -> None:
            if event.id == "u1":
                await ask(event, ctx)

        async with stand.working():
            await stand.tell(said("u1"))
            await ledger.begun.wait()
            await stand.tell(said("u2"))
            await stand.noted("finished")
            await ledger.done.wait()
        assert await settled(stand) == (0, 0)


class Silent(FakeGateway):
    """Takes the prompt and never answers."""

    @asynccontextmanager
    async def open_answer(self, inference: Inference) -> AsyncIterator[FakeStream]:
        self.asked.append(inference)
        await asyncio.Event().wait()
        yield FakeStream(self)


async def test_superseded_before_the_first_word_its_prompt_is_charged_and_recorded(tmp_path: Path) -> None:
    gateway = Silent()
    async with open_stand(tmp_path, gateway=gateway) as stand:

        @stand.router.on(Utterance, mode="latest")
        async def on_said(event: Utterance, ctx: Context) -> None:
            if event.id == "u1":
                await ask(event, ctx)

        async with stand.working():
            await stand.tell(said("u1"))
            await until(lambda: gateway.asked)
            await stand.tell(said("u2"))
            await stand.noted("finished")
        (record,) = await stand.engine.records()
        assert record.state == "incomplete"
        assert record.fields["prompt_tokens"] > 0
        assert record.fields["first_token_ms"] is None
        assert await settled(stand) == (record.fields["prompt_tokens"], 0)


async def test_what_must_not_be_broken_off_goes_on_to_its_end_before_the_cancellation_does() -> None:
    gate, ended = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        ended.append(True)

    task = asyncio.create_task(unbroken(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert ended == [True]


# --- callbacks ----------------------------------------------------------------------------------------------------


async def test_callbacks_are_keyed_in_order_and_carry_what_they_are_about(tmp_path: Path) -> None:
    async def act(_: Utterance, ctx: Context) -> None:
        ctx.callback("crm", "first", n=1)
        ctx.callback("crm", "second", ok=True, nothing=None, share=0.5)

    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=act, posts=2)
        assert stand.crm.keys == ["u1:h.on_said:1", "u1:h.on_said:2"]
        assert payload(stand, 1) == {
            "type": "second",
            "timestamp": "1970-01-01T00:00:02.100+00:00",
            "data": {
                "conversation": "talk",
                "event": "u1",
                "handler": "h.on_said",
                "ok": True,
                "nothing": None,
                "share": 0.5,
            },
        }


async def test_a_callback_is_masked_to_its_last_key_and_number(tmp_path: Path) -> None:
    async def act(_: Utterance, ctx: Context) -> None:
        ctx.callback("crm", "noted", deep=[{"to": MAIL, f"of {MAIL}": (CARD, {"tel": 4155550100})}])

    async with open_stand(tmp_path) as stand:
        await run(stand, f"it is {MAIL}", act=act, posts=1)
        sent = stand.crm.got[0].payload.decode()
        for secret in ("jane", "4111", "4155550100"):
            assert secret not in sent
        assert payload(stand)["data"]["deep"][0]["to"] == "[EMAIL_1]"


class Plan(Enum):
    GOLD = MAIL


async def test_a_callback_refuses_what_nobody_would_have_looked_into(tmp_path: Path) -> None:
    async def act(_: Utterance, ctx: Context) -> None:
        ctx.callback("crm", "noted", plan=Plan.GOLD)

    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=act)
        assert "takes text, numbers, lists and mappings, and no Plan" in (await stand.delivery("u1")).error


async def test_a_handler_that_fails_posts_nothing(tmp_path: Path) -> None:
    async def act(_: Utterance, ctx: Context) -> None:
        ctx.callback("crm", "noted")
        raise ValueError("broken")

    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=act)
        assert await stand.engine.callbacks() == []


# --- looking back -------------------------------------------------------------------------------------------------


async def test_history_and_age(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def act(_: Utterance, ctx: Context) -> None:
        seen.extend([[event.id for event in await ctx.history()], ctx.age_ms])

    async with open_stand(tmp_path) as stand:
        await run(stand, "one", "two", act=act, on="u1")
    assert seen == [["u1", "u2"], 0]


async def test_a_line_in_the_log_is_masked_and_says_which_delivery_wrote_it(tmp_path: Path) -> None:
    async def act(event: Utterance, ctx: Context) -> None:
        await ctx.transcript()
        ctx.log(f"{event.speaker}: {PHONE}, not {MAIL}", level="warning")

    async with open_stand(tmp_path) as stand:
        await run(stand, f"call me at {PHONE}", act=act)
        (noted,) = stand.notes.of("told")
    assert str(noted["text"]).startswith("customer: [PHONE_1], not [EMAIL_")
    assert isinstance(noted["text"], Masked)
    assert (noted["event"], noted["conversation"], noted["handler"]) == ("u1", "talk", "h.on_said")
    assert noted["level"] == "warning"


async def test_genesys_that_is_not_set_says_what_is_missing(tmp_path: Path) -> None:
    async def act(_: Utterance, ctx: Context) -> None:
        with pytest.raises(ConfigError, match=r"genesys\.client_id: is missing"):
            ctx.genesys  # noqa: B018 - the property raises

    async with open_stand(tmp_path) as stand:
        await run(stand, "hello", act=act)
        assert (await stand.delivery("u1")).state == "finished"


async def test_an_asking_tells_its_outcome_only_at_its_end(tmp_path: Path) -> None:
    outcomes: list[str] = []

    async def act(event: Utterance, ctx: Context) -> None:
        asking: Asking = ctx.ask("suggest", question=event.text)
        outcomes.extend([asking.outcome async for _ in asking])
        outcomes.append(asking.outcome)

    async with open_stand(tmp_path, gateway=FakeGateway(outcome="cut", usage=Usage(1, 1))) as stand:
        await run(stand, "hello", act=act)
    assert outcomes == ["", "", "cut"]
