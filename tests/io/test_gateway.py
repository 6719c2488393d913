"""Calls of the gateway against its simulator: tries, fallbacks, bills, budgets, counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve
from gateway_stand import QUESTION, ask, serving, until

from bridge.core.masking import Masked
from bridge.core.tokens import message_tokens, vocabulary_of
from bridge.errors import ConfigError, GatewayError
from bridge.io.gateway import open_gateway
from bridge.ports import Gateway, Message, Usage
from bridge.settings import GatewaySettings, Secret
from bridge.sim.clock import FakeClock
from bridge.sim.gateway import Faults, SimGateway, SimInference, make_gateway

TEXT = "The sky is blue by day, and red at dusk."


@pytest.fixture
def sim() -> SimGateway:
    return SimGateway(key="secret-key", text=TEXT)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def url(sim: SimGateway) -> AsyncIterator[str]:
    async with serving(make_gateway(sim)) as url:
        yield url


@pytest.fixture
def settings(url: str) -> GatewaySettings:
    return GatewaySettings(url=url, key=Secret("secret-key"))


@pytest.fixture
async def gateway(settings: GatewaySettings, clock: FakeClock) -> AsyncIterator[Gateway]:
    async with open_gateway(settings, clock=clock, random=lambda: 0.0) as gateway:
        yield gateway


async def refused(gateway: Gateway, **changes: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await ask(gateway, **changes)
    return caught.value


# --- an answer


async def test_an_answer_comes_in_pieces_and_says_how_it_ended(gateway: Gateway) -> None:
    async with gateway.open_answer(QUESTION) as stream:
        assert stream.answer is None
        pieces = [piece async for piece in stream]
    assert pieces == ["The", " sky", " is", " blue", " by", " day,", " and", " red", " at", " dusk."]
    answer = stream.answer
    assert answer is not None
    assert (answer.text, answer.outcome, answer.model, answer.error) == (TEXT, "complete", "gpt-4o", "")


@pytest.mark.parametrize("cut", ["bytes", "random"])
async def test_an_answer_is_the_same_however_it_is_cut(sim: SimGateway, gateway: Gateway, cut: str) -> None:
    sim.cut = cut  # type: ignore[assignment]  # a parameter
    assert (await ask(gateway)).text == TEXT


async def test_the_other_path_is_a_setting(settings: GatewaySettings, clock: FakeClock) -> None:
    async with open_gateway(evolve(settings, path="/v1/inference"), clock=clock, random=lambda: 0.0) as gateway:
        assert (await ask(gateway)).text == TEXT


async def test_the_gateways_own_counts_are_taken(gateway: Gateway) -> None:
    answer = await ask(gateway)
    asked = [(message.role, message.content.text) for message in QUESTION.messages]
    vocabulary = vocabulary_of("gpt-4o")
    assert answer.usage == Usage(message_tokens(vocabulary, asked), vocabulary.count(TEXT))
    assert answer.counted_by == "gateway"


@pytest.mark.parametrize(("model", "counted_by"), [("gpt-4o", "tokenizer"), ("claude-3-sonnet", "estimate")])
async def test_without_them_we_count_and_say_how(
    sim: SimGateway, gateway: Gateway, model: str, counted_by: str
) -> None:
    sim.faults = Faults(no_usage=True)
    answer = await ask(gateway, model=model)
    vocabulary = vocabulary_of(model)
    assert answer.usage.completion_tokens == vocabulary.count(TEXT)
    assert answer.usage.prompt_tokens > 0
    assert answer.counted_by == counted_by


async def test_times_are_of_the_clock_and_from_the_call_on(sim: SimGateway, gateway: Gateway, clock: FakeClock) -> None:
    sim.first_token, sim.sleep = 3, clock.sleep
    asking = asyncio.create_task(ask(gateway))
    await until(lambda: 3 in clock.waits)
    await clock.advance(3)
    answer = await asking
    assert (answer.first_token_ms, answer.total_ms) == (3000, 3000)


# --- the budget


async def test_an_answer_that_reaches_its_budget_is_cut(gateway: Gateway) -> None:
    answer = await ask(gateway, max_tokens=4)
    assert (answer.text, answer.outcome) == ("The sky is blue", "cut")


async def test_the_budget_holds_against_a_gateway_that_does_not_keep_it(sim: SimGateway, gateway: Gateway) -> None:
    sim.text, sim.faults = "word " * 1000, Faults(ignore_max_tokens=True)
    answer = await ask(gateway, max_tokens=5)
    assert (answer.text, answer.outcome, answer.counted_by) == ("word word word word word", "cut", "tokenizer")
    assert answer.usage.completion_tokens == 5


async def test_a_piece_that_passes_the_budget_is_cut_inside(sim: SimGateway, gateway: Gateway) -> None:
    sim.text, sim.faults = "x" * 2000, Faults(ignore_max_tokens=True)
    answer = await ask(gateway, max_tokens=3)
    assert answer.outcome == "cut"
    assert vocabulary_of("gpt-4o").count(answer.text) == 3


# --- tries


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503])
async def test_a_passing_refusal_is_tried_again_with_the_same_key(
    sim: SimGateway, gateway: Gateway, status: int
) -> None:
    sim.faults = Faults(refuse=2, status=status)
    assert (await ask(gateway)).outcome == "complete"
    assert sim.inferences == [SimInference("key-1", "gpt-4o", tries=3, billed=1)]


async def test_tries_end(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(refuse=99, status=503)
    error = await refused(gateway)
    assert sim.posts == 3
    assert error.status == 503
    assert error.retryable


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_final_refusal_is_told_at_once(sim: SimGateway, gateway: Gateway, status: int) -> None:
    sim.faults = Faults(refuse=99, status=status)
    error = await refused(gateway, fallback=("gpt-4o-mini",))
    assert sim.posts == 1
    assert error.status == status
    assert not error.retryable
    assert "told to refuse" in error.detail


async def test_a_wrong_key_is_told_with_what_to_set(settings: GatewaySettings, clock: FakeClock) -> None:
    wrong = evolve(settings, key=Secret("not-the-key"))
    async with open_gateway(wrong, clock=clock, random=lambda: 0.0) as gateway:
        error = await refused(gateway)
    assert "[gateway] key" in error.detail
    assert "not-the-key" not in error.detail


async def test_a_redirect_is_not_followed(sim: SimGateway, gateway: Gateway, url: str) -> None:
    sim.faults = Faults(redirect=url + "/v1/inference")
    error = await refused(gateway)
    assert sim.posts == 1
    assert "redirects are not followed" in error.detail


async def test_what_a_gateway_wants_us_to_wait_is_waited(sim: SimGateway, gateway: Gateway, clock: FakeClock) -> None:
    sim.faults = Faults(refuse=1, retry_after="7")
    asking = asyncio.create_task(ask(gateway))
    await until(lambda: clock.waits == [7])
    await clock.advance(6.9)
    assert sim.posts == 1
    await clock.advance(0.1)
    assert (await asking).outcome == "complete"
    assert sim.posts == 2


async def test_it_may_say_so_by_a_date(sim: SimGateway, gateway: Gateway, clock: FakeClock) -> None:
    clock.start_ms = 1_700_000_000_000
    sim.faults = Faults(refuse=1, retry_after="Tue, 14 Nov 2023 22:13:29 GMT")
    asking = asyncio.create_task(ask(gateway))
    await until(lambda: clock.waits == [9])
    await clock.advance(9)
    assert (await asking).outcome == "complete"


async def test_a_wait_beyond_the_time_that_is_left_is_not_begun(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(refuse=1, retry_after="3600")
    error = await refused(gateway)
    assert sim.posts == 1
    assert error.retry_after == 3600


async def test_what_is_left_is_counted_from_the_call_on(sim: SimGateway, gateway: Gateway, clock: FakeClock) -> None:
    sim.faults = Faults(refuse=9, retry_after="40")
    asking = asyncio.create_task(refused(gateway))
    await until(lambda: clock.waits == [40])
    await clock.advance(40)
    assert (await asking).retry_after == 40
    assert sim.posts == 2


async def test_waits_are_spread_by_chance(sim: SimGateway, settings: GatewaySettings, clock: FakeClock) -> None:
    sim.faults = Faults(refuse=2, status=500)
    async with open_gateway(settings, clock=clock, random=lambda: 0.5) as gateway:
        asking = asyncio.create_task(ask(gateway))
        for wait in (0.125, 0.25):
            await until(lambda wait=wait: clock.waits == [wait])  # type: ignore[misc]  # bound at once
            await clock.advance(wait)
        await asking


async def test_a_gateway_that_is_down_is_told_with_its_address(clock: FakeClock) -> None:
    settings = GatewaySettings(url="http://127.0.0.1:1")
    async with open_gateway(settings, clock=clock, random=lambda: 0.0) as gateway:
        error = await refused(gateway)
    assert "no answer from http://127.0.0.1:1" in error.detail
    assert error.retryable
    assert error.status is None


@pytest.mark.parametrize("url", ["", "localhost:8091", "ftp://gateway", "http://", "http://[::1"])
async def test_an_address_that_is_none_is_told_at_the_start(url: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.url"):
        async with open_gateway(GatewaySettings(url=url), clock=clock, random=lambda: 0.0):
            pass


@pytest.mark.parametrize("key", ["two\nlines", "ключ"])
async def test_a_secret_that_no_header_can_carry_is_told_at_the_start(key: str, clock: FakeClock) -> None:
    settings = GatewaySettings(key=Secret(key, origin="env:GATEWAY_KEY"))
    with pytest.raises(ConfigError, match="env:GATEWAY_KEY") as caught:
        async with open_gateway(settings, clock=clock, random=lambda: 0.0):
            pass
    assert key not in str(caught.value)


async def test_a_key_that_no_header_can_carry_is_no_crash(sim: SimGateway, gateway: Gateway) -> None:
    assert (await ask(gateway, key="a\r\nX-Evil: 1\ud800")).outcome == "complete"
    assert len(sim.inferences[0].key) == 64


async def test_no_first_token_in_time_is_tried_again_with_the_same_key(
    sim: SimGateway, gateway: Gateway, clock: FakeClock
) -> None:
    sim.faults = Faults(stall_first=1)
    asking = asyncio.create_task(ask(gateway))
    await until(lambda: sim.posts == 1 and clock.waits == [15])
    await clock.advance(15)
    answer = await asking
    assert sim.inferences == [SimInference("key-1", "gpt-4o", tries=2, billed=1)]
    assert answer.first_token_ms == 15_000


async def test_all_tries_together_end_with_the_total(
    sim: SimGateway, settings: GatewaySettings, clock: FakeClock
) -> None:
    sim.faults = Faults(stall_first=99)
    patient = evolve(settings, tries=99)
    async with open_gateway(patient, clock=clock, random=lambda: 0.0) as gateway:
        asking = asyncio.create_task(refused(gateway, fallback=("gpt-4o-mini",)))
        for posts in range(1, 5):
            await until(lambda posts=posts: sim.posts == posts and clock.waits == [15])  # type: ignore[misc]  # ditto
            await clock.advance(15)
        error = await asking
    assert clock.monotonic() == 60
    assert sim.posts == 4
    assert "not done within 60 s" in error.detail


# --- fallbacks, and the breaker


async def test_a_fallback_answers_when_the_tries_are_used_up(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(models=("gpt-4o",), refuse=99, status=500)
    answer = await ask(gateway, fallback=("gpt-4o-mini",))
    assert (answer.model, answer.text) == ("gpt-4o-mini", TEXT)
    assert sim.inferences == [
        SimInference("key-1", "gpt-4o", tries=3, billed=0),
        SimInference("key-1:gpt-4o-mini", "gpt-4o-mini", tries=1, billed=1),
    ]


async def test_the_settings_name_a_fallback_where_the_call_does_not(
    sim: SimGateway, settings: GatewaySettings, clock: FakeClock
) -> None:
    sim.faults = Faults(models=("gpt-4o",), refuse=99, status=500)
    async with open_gateway(
        evolve(settings, fallback=("claude-3-sonnet",)), clock=clock, random=lambda: 0.0
    ) as gateway:
        assert (await ask(gateway)).model == "claude-3-sonnet"


async def test_when_all_fail_the_first_ones_error_is_told(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(refuse=99, status=500)
    assert (await refused(gateway, fallback=("gpt-4o-mini",))).detail.startswith("gpt-4o:")


async def test_a_model_that_keeps_failing_is_left_alone_for_a_while(
    sim: SimGateway, gateway: Gateway, clock: FakeClock
) -> None:
    sim.faults = Faults(models=("gpt-4o",), refuse=99, status=500)
    await refused(gateway)
    await refused(gateway)
    posts = sim.posts
    error = await refused(gateway)
    assert sim.posts == posts == 5
    assert error.retry_after == 10
    assert (await ask(gateway, fallback=("gpt-4o-mini",))).model == "gpt-4o-mini"
    sim.faults = Faults()
    await clock.advance(10)
    assert (await ask(gateway)).model == "gpt-4o"


async def test_refusals_that_are_answers_open_no_breaker(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(refuse=99, status=429)
    for _ in range(4):
        await refused(gateway)
    assert sim.posts == 12


async def test_streams_that_break_open_the_breaker(sim: SimGateway, gateway: Gateway) -> None:
    sim.faults = Faults(break_after=1)
    for _ in range(5):
        assert (await ask(gateway)).outcome == "incomplete"
    assert "left alone" in (await refused(gateway)).detail


# --- what is written


async def test_neither_key_nor_text_is_ever_logged(
    sim: SimGateway, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = Masked.literal("What did Lovelace say?")
    sim.text, sim.faults = "Babbage wrote a program.", Faults(refuse=1, malformed_after=1)
    await ask(gateway, messages=(Message("user", asked),))
    sim.faults = Faults(error_after=1)
    await ask(gateway, messages=(Message("user", asked),), key="key-2")
    written = "\n".join(str(vars(record)) for record in caplog.records)
    assert "gateway_failed" in written
    assert "malformed_frames" in written
    assert not any(secret in written for secret in ("secret-key", "Lovelace", "Babbage", "program"))
