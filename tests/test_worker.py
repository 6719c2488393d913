"""The worker: lanes, failures, settlements, partitions. The engine is real; time stands still until it is moved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bridge_parts import Stand, open_stand, said, until

from bridge.context import Context
from bridge.core.events import Utterance
from bridge.core.retry import HANDLER_WAITS, Policy
from bridge.errors import BudgetError, GatewayError, Later
from bridge.ports import Arrival

ONCE = Policy(HANDLER_WAITS, tries=1)


def runs(stand: Stand, **wish: Any) -> list[str]:
    """Register a handler that only remembers the ids of its events."""
    ran: list[str] = []

    @stand.router.on(Utterance, **wish)
    async def on_said(event: Utterance, _: Context) -> None:
        ran.append(event.id)

    return ran


def fails(stand: Stand, *errors: BaseException, **wish: Any) -> list[str]:
    """Register a handler that raises these errors, one a run, and then none."""
    ran: list[str] = []
    left = list(errors)

    @stand.router.on(Utterance, **wish)
    async def on_said(event: Utterance, _: Context) -> None:
        ran.append(event.id)
        if left:
            raise left.pop(0)

    return ran


# --- lanes --------------------------------------------------------------------------------------------------------


async def test_a_lane_runs_in_order_one_at_a_time(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        under_way, most, ran = 0, 0, []

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, _: Context) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            ran.append(event.id)
            under_way -= 1

        async with stand.working():
            await stand.tell(*(said(f"u{n}") for n in range(5)))
            await stand.noted("finished", 5)
        assert ran == [f"u{n}" for n in range(5)]
        assert most == 1


async def test_conversations_and_handlers_go_on_beside_one_that_hangs(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran = runs(stand)

        @stand.router.on(Utterance, when=lambda event: event.conversation == "talk")
        async def hang(_: Utterance, __: Context) -> None:
            await asyncio.Event().wait()

        async with stand.working():
            await stand.tell(said("u1"), said("u2"), said("other", conversation="other"))
            await stand.noted("finished", 3)
        assert sorted(ran) == ["other", "u1", "u2"]
        assert (await stand.delivery("u1", "h.hang")).state == "waiting"


async def test_a_bound_holds_how_many_handlers_run_at_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        gate, under_way, most = asyncio.Event(), 0, 0

        @stand.router.on(Utterance)
        async def on_said(_: Utterance, __: Context) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await gate.wait()
            under_way -= 1

        async with stand.working(at_once=2):
            await stand.tell(*(said(f"u{n}", conversation=f"talk{n}") for n in range(5)))
            await until(lambda: under_way == 2)
            gate.set()
            await stand.noted("finished", 5)
        assert most == 2


# --- failures -----------------------------------------------------------------------------------------------------


async def test_a_failure_is_parked_with_the_policys_delay_and_runs_again(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran = fails(stand, ValueError("broken"), ValueError("again"))
        async with stand.working():
            await stand.tell(said("u1"), said("u2"))
            await stand.parked(1.0)
            waiting = await stand.delivery("u1")
            assert (waiting.attempts, waiting.not_before_ms) == (1, stand.clock.now_ms() + 1_000)
            assert waiting.error == "ValueError: broken"
            await stand.clock.advance(0.99)
            assert ran == ["u1"]
            await stand.clock.advance(0.01)
            await stand.parked(2.0)
            assert ran == ["u1", "u1"]
            await stand.clock.advance(2.0)
            await stand.noted("finished", 2)
        assert ran == ["u1", "u1", "u1", "u2"]


async def test_after_its_tries_a_delivery_is_dead_with_its_traceback_and_its_lane_goes_on(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran = fails(stand, *(ValueError("broken") for _ in range(5)))
        async with stand.working():
            await stand.tell(said("u1"), said("u2"))
            for seconds in (1.0, 2.0, 4.0, 8.0):
                await stand.parked(seconds)
                await stand.clock.advance(seconds)
            await stand.noted("dead")
            await stand.noted("finished")
        dead = await stand.delivery("u1")
        assert (dead.state, dead.attempts) == ("dead", 5)
        assert "raise left.pop(0)" in dead.error
        assert dead.error.endswith("ValueError: broken\n")
        assert ran == ["u1"] * 5 + ["u2"]
        assert stand.notes.of("dead")[0]["error"].text == "ValueError", "a log holds no text that a handler may quote"


async def test_one_failing_handler_does_not_run_the_others_again(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(stand, ValueError("broken"))
        others: list[str] = []

        @stand.router.on(Utterance)
        async def other(event: Utterance, _: Context) -> None:
            others.append(event.id)

        async with stand.working():
            await stand.tell(said("u1"))
            await stand.parked(1.0)
            await stand.clock.advance(1.0)
            await stand.noted("finished", 2)
        assert others == ["u1"]


async def test_later_parks_without_counting_a_failure(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran = fails(stand, *(Later(7.0, "call 415 555 0100 first") for _ in range(8)))
        async with stand.working():
            await stand.tell(said("u1"))
            for _ in range(8):
                await stand.parked(7.0)
                assert (await stand.delivery("u1")).attempts == 0
                await stand.clock.advance(7.0)
            await stand.noted("finished")
        assert ran == ["u1"] * 9
        errors = [note["error"].text for note in stand.notes.of("parked")]
        assert errors == ["Later"] * 8


async def test_a_card_begun_before_later_is_withdrawn(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, ctx: Context) -> None:
            ctx.card(based_on=event).write("One moment please, thank you. ")
            raise Later(60.0, "not yet")

        async with stand.working():
            await stand.tell(said("u1"))
            await stand.noted("parked")
        assert [note["state"] for note in stand.notes.of("card")] == ["withheld"]


async def test_the_text_of_an_error_is_masked_where_it_is_stored_and_noted(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(
            stand,
            ValueError("no match for jane@example.com"),
            GatewayError("card 4111 1111 1111 1111", retryable=False),
        )
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.parked(1.0)
            assert (await stand.delivery("u1")).error == "ValueError: no match for [EMAIL_1]"
            await stand.clock.advance(1.0)
            await stand.noted("dead")
        dead = (await stand.delivery("u1")).error
        assert "GatewayError: card [CARD_1]" in dead
        noted = str([(action, {k: str(v) for k, v in fields.items()}) for action, fields in stand.notes.taken])
        for secret in ("jane@example", "4111"):
            assert secret not in dead
            assert secret not in noted


async def test_a_budget_that_is_spent_is_dead_at_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(stand, BudgetError("spent"))
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.noted("dead")
        assert (await stand.delivery("u1")).attempts == 1


async def test_an_upstream_that_says_never_is_dead_at_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(stand, GatewayError("wrong key", status=401, retryable=False))
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.noted("dead")
        assert (await stand.delivery("u1")).attempts == 1


async def test_retry_after_of_an_upstream_is_the_least_wait(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(stand, GatewayError("busy", status=429, retry_after=33.0))
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.parked(33.0)


async def test_a_handler_that_hangs_is_ended_by_the_timeout_and_cleans_up(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        cleaned: list[str] = []

        @stand.router.on(Utterance)
        async def on_said(event: Utterance, _: Context) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(event.id)

        async with stand.working(timeout=0.01):
            await stand.tell(said("u1"))
            await stand.parked(1.0)
        assert cleaned[0] == "u1"
        assert (await stand.delivery("u1")).error.startswith("TimeoutError")


@pytest.mark.parametrize("mode", ["ordered", "latest"])
async def test_a_handler_cancelled_from_within_fails_and_its_lane_goes_on(tmp_path: Path, mode: Any) -> None:
    async with open_stand(tmp_path) as stand:
        ran = fails(stand, asyncio.CancelledError(), mode=mode)
        async with stand.working():
            await stand.tell(said("u1"))
            await stand.parked(1.0)
            await stand.clock.advance(1.0)
            await stand.noted("finished")
        assert ran == ["u1", "u1"]


async def test_a_group_of_errors_is_noted_by_all_of_them(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        fails(stand, ExceptionGroup("two", [ValueError("first"), ValueError("second")]))
        async with stand.working(policy=ONCE):
            await stand.tell(said("u1"))
            await stand.noted("dead")
        assert stand.notes.of("dead")[0]["error"].text == "ValueError, ValueError"


async def test_a_filter_that_raises_is_a_failure_of_its_delivery(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        ran = runs(stand, when=lambda event: event.text.split()[99] == "x")
        async with stand.working(policy=ONCE):
            await stand.tell(said("u1"))
            await stand.noted("dead")
        assert "IndexError" in (await stand.delivery("u1")).error
        assert ran == []


async def test_a_handler_that_nobody_registered_is_dead_with_what_to_do(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand, stand.working():
        await stand.tell(said("u1"), wanted=(("old.gone", "ordered"),))
        await stand.noted("dead")
        dead = await stand.delivery("u1", "old.gone")
        assert dead.error == "no handler is named old.gone; enable it and send this again"


async def test_an_event_of_a_class_that_nobody_knows_is_dead_with_the_classes_there_are(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand, stand.working():
        await stand.engine.append([Arrival("n1", "talk", "Newer", b"{}", 0, (("h.on_said", "ordered"),))])
        await stand.noted("dead")
        assert "no event is called 'Newer'; there are AgentJoined" in (await stand.delivery("n1")).error
