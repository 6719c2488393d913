"""Streams of the gateway that are wrong: broken, slow, endless, of another kind. Bytes come from a raw server."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from attrs import evolve
from gateway_stand import DONE, END, HEAD, QUESTION, Line, RawServer, Script, ask, chunk, frame, raw_server, until

from bridge.errors import GatewayError
from bridge.io.clock import MachineClock
from bridge.io.gateway import open_gateway
from bridge.ports import Clock, Gateway
from bridge.settings import GatewaySettings, Secret
from bridge.sim.clock import FakeClock

FRAME_LIMIT = 200_000
HUGE = frame("x" * 300_000)
AT_ONCE = 0.1
"""Seconds in which the upstream is closed when an answer is left."""


@asynccontextmanager
async def speaking_to(
    script: Script, clock: Clock | None = None, *, tries: int = 1
) -> AsyncIterator[tuple[Gateway, RawServer]]:
    async with raw_server(script) as raw:
        settings = GatewaySettings(url=raw.url, key=Secret("k"), tries=tries)
        async with open_gateway(
            settings, clock=clock or MachineClock(), random=lambda: 0.0, frame_limit=FRAME_LIMIT
        ) as gateway:
            yield gateway, raw


def saying(*parts: bytes, head: bytes = HEAD, close: bool = False) -> Script:
    async def script(line: Line) -> None:
        await line.say(head, *parts)
        if close:
            line.writer.close()

    return script


def framed(*frames: bytes) -> list[bytes]:
    return [*(chunk(one) for one in frames), END]


async def refused(script: Script) -> GatewayError:
    async with speaking_to(script) as (gateway, _):
        with pytest.raises(GatewayError) as caught:
            await ask(gateway)
    return caught.value


# --- the request


async def test_the_request_carries_what_a_strict_gateway_wants() -> None:
    async with speaking_to(saying(*framed(frame("hi"), DONE))) as (gateway, raw):
        await ask(gateway)
    line, *headers = raw.heads[0].strip().split("\r\n")
    assert line == "POST /v1/chat/completions HTTP/1.1"
    given = dict(header.lower().split(": ", 1) for header in headers)
    wanted = {
        "authorization": "bearer k",
        "accept": "text/event-stream",
        "content-type": "application/json",
        "idempotency-key": "key-1",
        "x-request-format": "strict",
    }
    assert given.items() >= wanted.items()


async def test_one_connection_serves_one_answer_after_the_other() -> None:
    async with speaking_to(saying(*framed(frame("hi"), DONE, b": bye\n\n"))) as (gateway, raw):
        for _ in range(5):
            await ask(gateway)
    assert len(raw.heads) == 5
    assert raw.connections == 1


async def test_it_is_used_again_after_an_end_that_comes_late() -> None:
    release = asyncio.Event()

    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi")), chunk(DONE))
        await release.wait()
        await line.say(END)

    async with speaking_to(script) as (gateway, raw):
        async with gateway.open_answer(QUESTION) as stream:
            assert await anext(aiter(stream)) == "hi"
            release.set()
            assert [piece async for piece in stream] == []
        await ask(gateway)
    assert raw.connections == 1


async def test_as_many_answers_stream_at_once_as_are_asked_for() -> None:
    async with speaking_to(endless) as (gateway, raw), AsyncExitStack() as stack:
        for n in range(120):
            await stack.enter_async_context(gateway.open_answer(evolve(QUESTION, key=str(n))))
        assert raw.connections == 120


async def test_no_cookie_and_no_proxy_of_the_machine_has_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    head = HEAD.replace(b"\r\n", b"\r\nSet-Cookie: who=you\r\n", 1)
    async with raw_server(saying(*framed(frame("hi"), DONE), head=head)) as raw:
        settings = GatewaySettings(url=raw.url.replace("127.0.0.1", "localhost"))
        async with open_gateway(settings, clock=MachineClock(), random=lambda: 0.0) as gateway:
            await ask(gateway)
            await ask(gateway)
    assert "cookie" not in raw.heads[1].lower()


async def test_a_refusal_gives_its_connection_back_too() -> None:
    body = b'{"error": {"message": "busy"}}'
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with speaking_to(saying(body, head=head), tries=3) as (gateway, raw):
        with pytest.raises(GatewayError, match="busy"):
            await ask(gateway)
    assert len(raw.heads) == 3
    assert raw.connections == 1


async def test_an_end_that_never_comes_is_not_waited_for() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi")), chunk(DONE))
        await line.closed()

    clock = FakeClock()
    async with speaking_to(script, clock) as (gateway, _):
        asking = asyncio.create_task(ask(gateway))
        await until(lambda: clock.waits == [0.5])
        await clock.advance(0.5)
        answer = await asking
    assert (answer.outcome, answer.total_ms) == ("complete", 0)


async def test_an_end_that_is_buried_under_bytes_is_not_looked_for() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi")), chunk(DONE))
        while not line.writer.is_closing():
            await line.say(chunk(b":" * 4000 + b"\n"))

    async with speaking_to(script, FakeClock()) as (gateway, _):
        assert (await ask(gateway)).outcome == "complete"


# --- leaving


async def endless(line: Line) -> None:
    await line.say(HEAD, chunk(frame("hi")))
    await line.closed()


@asynccontextmanager
async def left_at_once(raw_script: Script) -> AsyncIterator[tuple[Gateway, Callable[[], None]]]:
    """Fails unless the server sees the connection closed within 100 ms of the call of what is given."""
    left, seen = [math.inf], asyncio.get_running_loop().create_future()

    async def script(line: Line) -> None:
        await raw_script(line)
        if not seen.done():
            seen.set_result(time.monotonic())

    async with speaking_to(script) as (gateway, _):
        yield gateway, lambda: left.__setitem__(0, time.monotonic())
        assert await asyncio.wait_for(seen, 1) - left[0] < AT_ONCE


async def test_breaking_off_closes_the_upstream() -> None:
    async with left_at_once(endless) as (gateway, now):
        async with gateway.open_answer(QUESTION) as stream:
            async for piece in stream:
                assert piece == "hi"
                break
            now()
        assert stream.answer is not None
        assert (stream.answer.text, stream.answer.outcome) == ("hi", "incomplete")


@pytest.mark.parametrize("first", [b"", chunk(frame("hi"))], ids=["before the first text", "after it"])
async def test_cancelling_closes_the_upstream(first: bytes) -> None:
    asked = asyncio.Event()

    async def script(line: Line) -> None:
        await line.say(HEAD, first)
        asked.set()
        await line.closed()

    async with left_at_once(script) as (gateway, now):
        asking = asyncio.create_task(ask(gateway))
        await asked.wait()
        asking.cancel()
        now()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_cancelled_call_that_was_never_answered_closes_the_upstream() -> None:
    asked = asyncio.Event()

    async def script(line: Line) -> None:
        asked.set()
        await line.closed()

    async with left_at_once(script) as (gateway, now):
        asking = asyncio.create_task(ask(gateway))
        await asked.wait()
        asking.cancel()
        now()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_cut_closes_the_upstream_though_the_reader_stays() -> None:
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi there")))
        await line.closed()
        gone.set()

    async with (
        speaking_to(script) as (gateway, _),
        gateway.open_answer(evolve(QUESTION, max_tokens=1)) as stream,
        asyncio.timeout(AT_ONCE),
    ):
        assert await anext(aiter(stream)) == "hi"
        await gone.wait()


# --- streams that break off


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (saying(chunk(frame("hi")), close=True), "the connection broke"),
        (saying(*framed(frame("hi"))), "without [DONE] or finish_reason"),
        (saying(frame("hi"), head=HEAD.replace(b"Transfer-Encoding: chunked\r\n", b""), close=True), "without [DONE]"),
        (saying(*framed(frame("hi"), frame(" there")[:-1])), "without [DONE]"),
        (saying(*framed(frame("hi"), b'data: {"error": {"message": "out of memory"}}\n\n')), "out of memory"),
        (saying(*framed(frame("hi"), b"event: error\ndata: overloaded\n\n", DONE)), "overloaded"),
        (saying(*framed(frame("hi"), HUGE, DONE)), "larger than 200000 bytes"),
        (saying(*framed(frame("hi"), frame("", "content_filter"), DONE)), "content filter"),
    ],
)
async def test_a_break_after_the_first_text_is_an_outcome_and_no_second_post(script: Script, why: str) -> None:
    async with speaking_to(script, tries=3) as (gateway, raw):
        answer = await ask(gateway)
    assert (answer.text, answer.outcome) == ("hi", "incomplete")
    assert why in answer.error
    assert answer.error.startswith("gpt-4o: ")
    assert len(raw.heads) == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (saying(close=True), "the connection broke"),
        (saying(END), "without [DONE] or finish_reason"),
        (saying(*framed(b"event: error\ndata: overloaded\n\n")), "overloaded"),
        (saying(*framed(HUGE)), "larger than 200000 bytes"),
        (saying(head=b"", close=True), "no answer from"),
        (saying(b"no chunk\r\n", close=True), "no answer from"),
        (saying(head=b"SSH-2.0-OpenSSH\r\n\r\n", close=True), "no answer from"),
    ],
)
async def test_a_break_before_it_is_tried_again(script: Script, why: str) -> None:
    async with speaking_to(script, tries=3) as (gateway, raw):
        with pytest.raises(GatewayError) as caught:
            await ask(gateway)
    assert why in caught.value.detail
    assert caught.value.retryable
    assert len(raw.heads) == 3


@pytest.mark.parametrize(
    "frames",
    [
        [frame("hi"), DONE],
        [frame("hi", "stop")],
        [frame("hi", "stop"), b"data: [DONE]"],
        [frame("hi"), frame("", "stop"), b"data: {}\n\n"],
        [b"\xef\xbb\xbf: hello\r\n\r\n" + frame("hi").replace(b"\n", b"\r\n"), b"data:[DONE]\r\r"],
        [b"data: {nonsense\n\ndata: []\n\n", frame("hi"), b"retry: 0\nid: 7\nevent: ping\n\n", DONE],
    ],
)
async def test_done_or_a_reason_makes_an_answer_whole(frames: list[bytes]) -> None:
    async with speaking_to(saying(*framed(*frames))) as (gateway, raw):
        answer = await ask(gateway)
    assert (answer.text, answer.outcome, answer.error) == ("hi", "complete", "")
    assert len(raw.heads) == 1


async def test_an_answer_that_has_its_reason_loses_nothing_by_a_break() -> None:
    async with speaking_to(saying(chunk(frame("hi", "stop")), close=True)) as (gateway, _):
        assert (await ask(gateway)).outcome == "complete"


async def test_an_answer_without_text_is_complete_when_the_gateway_says_so() -> None:
    async with speaking_to(saying(*framed(frame("", "stop"), DONE))) as (gateway, _):
        answer = await ask(gateway)
    assert (answer.text, answer.outcome, answer.first_token_ms) == ("", "complete", None)


async def test_usage_beside_choices_is_taken() -> None:
    last = (
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":9}}\n\n'
    )
    async with speaking_to(saying(*framed(frame("hi"), last, DONE))) as (gateway, _):
        answer = await ask(gateway)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.counted_by) == (8, 9, "gateway")


async def test_what_came_before_a_break_is_read_though_its_reader_was_busy() -> None:
    broken = asyncio.Event()

    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("a")))
        await broken.wait()
        await line.say(chunk(frame("b")), chunk(frame("c")))
        line.writer.close()

    async with speaking_to(script) as (gateway, raw), gateway.open_answer(QUESTION) as stream:
        assert await anext(aiter(stream)) == "a"
        broken.set()
        source = stream.source  # type: ignore[attr-defined]  # to see when the break has arrived
        await until(lambda: source.response.content.exception() is not None)
        assert [piece async for piece in stream] == ["b", "c"]
        assert stream.answer is not None
        assert stream.answer.outcome == "incomplete"
        assert len(raw.heads) == 1


# --- time


async def test_comments_do_not_stand_for_a_first_token() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD)
        while True:
            await line.say(chunk(b": wait\n\n"))
            await asyncio.sleep(0.001)

    clock = FakeClock()
    async with speaking_to(script, clock) as (gateway, _):
        asking = asyncio.create_task(ask(gateway))
        await until(lambda: clock.waits == [15])
        await clock.advance(15)
        with pytest.raises(GatewayError, match="no first token within 15 s"):
            await asking


async def test_a_stream_that_stalls_is_incomplete() -> None:
    clock = FakeClock()
    async with speaking_to(endless, clock) as (gateway, _), gateway.open_answer(QUESTION) as stream:
        assert await anext(aiter(stream)) == "hi"
        await clock.advance(10)
        reading = asyncio.create_task(anext(aiter(stream), None))
        await until(lambda: clock.waits == [5])
        await clock.advance(14)
        assert not reading.done()
        await clock.advance(1)
        assert await reading is None
        assert stream.answer is not None
        assert stream.answer.outcome == "incomplete"
        assert "no token for 15 s" in stream.answer.error


async def test_a_stream_that_never_ends_ends_with_the_total() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD)
        while True:
            await line.say(chunk(frame("a")))
            await asyncio.sleep(0.001)

    clock = FakeClock()
    async with speaking_to(script, clock) as (gateway, _), gateway.open_answer(QUESTION) as stream:
        async for _ in stream:
            await clock.advance(10)
        assert stream.answer is not None
        assert stream.answer.outcome == "incomplete"
        assert "not done within 60 s" in stream.answer.error
        assert stream.answer.total_ms == 60_000


async def test_a_flood_without_text_does_not_drown_the_clock() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi")))
        while not line.writer.is_closing():
            await line.say(chunk(b": \n\n" * 500))

    clock = FakeClock()
    async with speaking_to(script, clock) as (gateway, _), gateway.open_answer(QUESTION) as stream:
        assert await anext(aiter(stream)) == "hi"
        reading = asyncio.create_task(anext(aiter(stream), None))
        await clock.advance(15)
        async with asyncio.timeout(5):
            assert await reading is None


async def test_a_slow_reader_is_not_the_gateways_fault() -> None:
    clock = FakeClock()
    async with speaking_to(saying(*framed(frame("a"), frame("b"), DONE)), clock) as (gateway, _):
        async with gateway.open_answer(QUESTION) as stream:
            async for _ in stream:
                await clock.advance(25)
        assert stream.answer is not None
        assert stream.answer.outcome == "complete"


async def test_usage_that_never_comes_is_not_waited_for_long() -> None:
    async def script(line: Line) -> None:
        await line.say(HEAD, chunk(frame("hi", "stop")))
        await line.closed()

    clock = FakeClock()
    async with speaking_to(script, clock) as (gateway, _):
        asking = asyncio.create_task(ask(gateway))
        await until(lambda: 2 in clock.waits)
        await clock.advance(2)
        await clock.advance(0.5)
        assert (await asking).outcome == "complete"


# --- other kinds of answers


def whole(kind: bytes, body: bytes) -> Script:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
    return saying(body, head=head)


COMPLETION = (
    b'{"choices":[{"message":{"content":"hi there"},"finish_reason":"%s"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":2}}'
)


@pytest.mark.parametrize(("reason", "outcome"), [(b"stop", "complete"), (b"length", "cut")])
async def test_an_answer_that_is_not_streamed_is_one_piece(reason: bytes, outcome: str) -> None:
    async with speaking_to(whole(b"application/json", COMPLETION % reason)) as (gateway, raw):
        answer = await ask(gateway)
        await ask(gateway)
    assert (answer.text, answer.outcome, answer.counted_by) == ("hi there", outcome, "gateway")
    assert raw.connections == 1


async def test_the_budget_holds_for_it_too() -> None:
    async with speaking_to(whole(b"application/json; charset=utf-8", COMPLETION % b"stop")) as (gateway, _):
        answer = await ask(gateway, max_tokens=1)
    assert (answer.text, answer.outcome) == ("hi", "cut")


ANGRY_FACE = "\\ud83e\\udd2c"
"""One character of more than one token."""


@pytest.mark.parametrize(
    "script",
    [
        saying(*framed(frame(ANGRY_FACE), DONE)),
        whole(b"application/json", COMPLETION.replace(b"hi there", ANGRY_FACE.encode()) % b"stop"),
    ],
)
async def test_a_budget_too_small_for_the_first_character_lets_nothing_through(script: Script) -> None:
    async with speaking_to(script) as (gateway, _):
        answer = await ask(gateway, max_tokens=1)
    assert (answer.text, answer.outcome) == ("", "cut")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (whole(b"text/html", b"<h1>Log in</h1>"), "is text/html, not text/event-stream"),
        (whole(b"text/" + b"x" * 7_000, b""), f"is text/{'x' * 35}, not text/event-stream"),
        (whole(b"application/json", b"{"), "not the JSON of a chat completion"),
        (whole(b"application/json", b'{"error": {"type": "invalid_request_error"}}'), "invalid_request_error"),
        (whole(b"application/json", b"x" * 300_000), "not the JSON of a chat completion"),
    ],
)
async def test_what_is_no_answer_is_told(script: Script, why: str) -> None:
    assert why in (await refused(script)).detail
