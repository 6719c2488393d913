"""Lanes in which only the newest counts, and cards that are withheld."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bridge_parts import FakeGateway, Stand, listening, open_stand, said, until

from bridge.context import Context
from bridge.core.events import Utterance
from bridge.settings import Budgets


def suggests(stand: Stand) -> None:
    """Register what assist does, in its lane."""

    @stand.router.on(Utterance, mode="latest")
    async def on_said(event: Utterance, ctx: Context) -> None:
        card = ctx.card(based_on=event)
        async for piece in ctx.ask("suggest", question=event.text):
            card.write(piece)
        ctx.callback("crm", "shown", text=card.text)


async def states(stand: Stand) -> dict[str, str]:
    return {one.event.id: one.state for one in await stand.engine.deliveries()}


async def test_a_newer_one_cancels_what_runs_and_its_stream_is_closed_first(tmp_path: Path) -> None:
    gateway = FakeGateway()
    gateway.hold(1)
    async with open_stand(tmp_path, gateway=gateway) as stand:
        suggests(stand)
        async with stand.working(), listening(stand.bus) as heard:
            await stand.tell(said("u1"))
            await until(lambda: any(message["state"] == "open" for message in heard()))
            gateway.gates.clear()
            left_before: list[int] = []
            await stand.tell(said("u2"))
            await until(lambda: len(gateway.asked) == 2 and not left_before.append(gateway.left))  # type: ignore[func-returns-value]
            await stand.noted("finished")
            assert left_before[-1] >= 1
        assert await states(stand) == {"u1": "superseded", "u2": "finished"}
        assert {(one.event, one.state) for one in await stand.cards()} == {("u1", "superseded"), ("u2", "ready")}
        last_of_first = [message for message in heard() if message.get("card", "").startswith("u1")][-1]
        assert (last_of_first["state"], last_of_first["text"]) == ("superseded", "")
        assert [callback.event for callback in await stand.engine.callbacks()] == ["u2"]
        assert (await stand.engine.spent("conversation:talk"))[1] == 0


async def test_what_waits_is_superseded_without_having_run(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        gate, ran = asyncio.Event(), []

        @stand.router.on(Utterance, mode="latest")
        async def on_said(event: Utterance, _: Context) -> None:
            ran.append(event.id)
            if event.id == "u1":
                try:
                    await asyncio.Event().wait()
                finally:
                    await gate.wait()

        async with stand.working():
            await stand.tell(said("u1"))
            await until(lambda: ran)
            await stand.tell(said("u2"), said("u3"), said("u4"))
            gate.set()
            await stand.noted("finished")
        assert ran == ["u1", "u4"]
        assert await states(stand) == {"u1": "superseded", "u2": "superseded", "u3": "superseded", "u4": "finished"}
        order = [one.settled_as or 0 for one in await stand.engine.deliveries()]
        assert order == sorted(order)
        assert 0 not in order


async def test_one_that_is_parked_gives_way_at_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:

        @stand.router.on(Utterance, mode="latest")
        async def on_said(event: Utterance, _: Context) -> None:
            if event.id == "u1":
                raise ValueError("broken")

        async with stand.working():
            await stand.tell(said("u1"))
            await stand.parked(1.0)
            await stand.tell(said("u2"))
            await stand.noted("finished")
        assert await states(stand) == {"u1": "superseded", "u2": "finished"}


async def test_in_order_runs_every_one(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        suggests(stand)
        async with stand.working(in_order=True):
            await stand.tell(*(said(f"u{n}") for n in range(4)))
            await stand.noted("finished", 4)
        assert [card.state for card in await stand.cards()] == ["ready"] * 4


async def test_a_lane_of_another_handler_is_not_superseded(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        gate = asyncio.Event()

        @stand.router.on(Utterance, mode="latest")
        async def on_said(_: Utterance, __: Context) -> None:
            await gate.wait()

        @stand.router.on(Utterance)
        async def every(_: Utterance, __: Context) -> None:
            await gate.wait()

        async with stand.working():
            await stand.tell(said("u1"), said("u2"))
            await stand.noted("superseded")
            gate.set()
            await stand.noted("finished", 3)
        found: Any = [(one.handler, one.state) for one in await stand.engine.deliveries() if one.event.id == "u1"]
        assert sorted(found) == [("h.every", "finished"), ("h.on_said", "superseded")]


async def test_a_spent_budget_withholds_the_card_and_is_no_failure(tmp_path: Path) -> None:
    async with open_stand(tmp_path, budgets=Budgets(conversation=10)) as stand:
        suggests(stand)
        async with stand.working(), listening(stand.bus) as heard:
            await stand.tell(said("u1"))
            await stand.noted("finished")
            await until(heard)
        assert [card.state for card in await stand.cards()] == ["withheld"]
        assert [message["state"] for message in heard()] == ["withheld"]
        assert await stand.engine.callbacks() == []
        assert stand.gateway.asked == []  # type: ignore[attr-defined]
