from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import ClientPayloadError, ClientSession

from bridge.core.sse import Parser
from bridge.core.tokens import vocabulary_of
from bridge.sim.gateway import Faults, SimGateway, SimInference, make_gateway
from bridge.sim.gateway_answers import answer
from bridge.sim.serving import open_app

SUMMARY = "Write these sections: Reason: Actions: Outcome: Follow-up:"
CALL = """<transcript>
agent: Thank you for calling, this is Ruth. How can I help?
customer: Hi, um, I was charged $1,250.00 twice for a stove and I want one of them back.
agent: I can see both payments here. I'll send the second one back to [CARD_1] today.
agent: You will have it by Friday, March 14.
customer: Perfect, thank you so much.
</transcript>"""


@pytest.fixture
def sim() -> SimGateway:
    return SimGateway(key="k", text="one two three four")


@pytest.fixture
async def session(sim: SimGateway) -> AsyncIterator[ClientSession]:
    async with open_app(make_gateway(sim)) as url, ClientSession(url) as session:
        yield session


def asked(**fields: Any) -> dict[str, Any]:
    return {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 50,
        "stream": True,
    } | fields


async def post(
    session: ClientSession, body: Any, *, path: str = "/v1/chat/completions", **headers: str
) -> tuple[int, bytes]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"Authorization": "Bearer k", "Content-Type": "application/json", **headers}
    async with session.post(path, data=raw, headers=given, allow_redirects=False) as response:
        return response.status, await response.read()


async def frames(session: ClientSession, **fields: Any) -> list[str]:
    status, body = await post(session, asked(**fields))
    assert status == 200
    return [event.data for event in Parser().feed(body)]


def text_of(datas: list[str]) -> str:
    choices = [choice for data in datas if data != "[DONE]" for choice in orjson.loads(data)["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def test_it_streams_its_text_and_ends_with_done(session: ClientSession) -> None:
    datas = await frames(session)
    assert text_of(datas) == "one two three four"
    assert orjson.loads(datas[-2])["choices"][0]["finish_reason"] == "stop"
    assert datas[-1] == "[DONE]"


async def test_usage_comes_when_asked_for_and_is_true(session: ClientSession) -> None:
    without = await frames(session)
    with_usage = await frames(session, stream_options={"include_usage": True})
    usage = orjson.loads(with_usage[-2])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == vocabulary_of("gpt-4o").count("one two three four")
    assert len(with_usage) == len(without) + 1


async def test_it_keeps_to_max_tokens_and_says_so(session: ClientSession) -> None:
    datas = await frames(session, max_tokens=2)
    assert text_of(datas) == "one two"
    assert orjson.loads(datas[-2])["choices"][0]["finish_reason"] == "length"


async def test_an_answer_that_is_not_streamed_is_one_object(session: ClientSession) -> None:
    status, body = await post(session, asked(stream=False))
    whole = orjson.loads(body)
    assert status == 200
    assert whole["choices"][0]["message"]["content"] == "one two three four"
    assert whole["usage"]["completion_tokens"] == 4


async def test_the_inference_path_is_the_same(session: ClientSession) -> None:
    status, body = await post(session, asked(), path="/v1/inference")
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        ({"messages": []}, 400, "model"),
        (asked(model=5), 400, "model"),
        (asked(model="gpt-9"), 404, "model"),
        (asked(messages=[]), 400, "messages"),
        (asked(messages="hello"), 400, "messages"),
        (asked(messages=[{"role": "user"}]), 400, "messages"),
        (asked(messages=[{"role": "boss", "content": "x"}]), 400, "messages"),
        (asked(messages=[{"role": "user", "content": None}]), 400, "messages"),
        (asked(temperature=2.1), 400, "temperature"),
        (asked(temperature="hot"), 400, "temperature"),
        (asked(max_tokens=0), 400, "max_tokens"),
        (asked(max_tokens=True), 400, "max_tokens"),
        (asked(stream="yes"), 400, "stream"),
        (asked(stream_options={"include_usage": 1}), 400, "stream_options"),
        (asked(colour="red"), 400, "colour"),
    ],
)
async def test_a_wrong_body_is_refused(
    sim: SimGateway, session: ClientSession, body: Any, status: int, param: str
) -> None:
    answered, raw = await post(session, body)
    error = orjson.loads(raw)["error"]
    assert (answered, error["param"]) == (status, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert sim.inferences == []


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/v2/chat", 404), ("GET", "/v1/chat/completions", 405), ("GET", "/", 404)]
)
async def test_a_wrong_place_is_refused(session: ClientSession, method: str, path: str, status: int) -> None:
    async with session.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == "unknown_url"
        assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "k"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"X-Request-Format": "loose"}, 400),
    ],
)
async def test_wrong_headers_are_refused(session: ClientSession, headers: dict[str, str], status: int) -> None:
    answered, raw = await post(session, asked(), **headers)
    assert answered == status
    assert "error" in orjson.loads(raw)


async def test_models_are_listed(session: ClientSession, sim: SimGateway) -> None:
    async with session.get("/v1/models", headers={"Authorization": "Bearer k"}) as response:
        assert [model["id"] for model in (await response.json())["data"]] == list(sim.models)


async def test_a_key_that_comes_again_is_counted_and_billed_again(sim: SimGateway, session: ClientSession) -> None:
    for _ in range(2):
        await post(session, asked(), **{"Idempotency-Key": "a"})
    assert sim.inferences == [SimInference("a", "gpt-4o", tries=2, billed=2)]
    assert sim.billed == 2


async def test_a_key_with_another_body_is_refused(sim: SimGateway, session: ClientSession) -> None:
    await post(session, asked(), **{"Idempotency-Key": "a"})
    status, _ = await post(session, asked(max_tokens=1), **{"Idempotency-Key": "a"})
    assert status == 422
    assert sim.billed == 1


async def test_posts_without_a_key_are_inferences_of_their_own(sim: SimGateway, session: ClientSession) -> None:
    await post(session, asked())
    await post(session, asked())
    assert [one.tries for one in sim.inferences] == [1, 1]


async def test_it_refuses_the_first_calls_and_bills_none_of_them(sim: SimGateway, session: ClientSession) -> None:
    sim.faults = Faults(refuse=2, status=429, retry_after="7")
    given = {"Idempotency-Key": "a"}
    assert [(await post(session, asked(), **given))[0] for _ in range(3)] == [429, 429, 200]
    assert sim.inferences == [SimInference("a", "gpt-4o", tries=3, billed=1)]


async def test_faults_can_be_of_some_models_only(sim: SimGateway, session: ClientSession) -> None:
    sim.faults = Faults(models=("gpt-4o-mini",), refuse=99, status=503)
    assert (await post(session, asked()))[0] == 200
    assert (await post(session, asked(model="gpt-4o-mini")))[0] == 503


async def test_it_redirects(sim: SimGateway, session: ClientSession) -> None:
    sim.faults = Faults(redirect="http://127.0.0.1:9/elsewhere")
    headers = {"Authorization": "Bearer k"}
    async with session.post("/v1/inference", json=asked(), headers=headers, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize("cut", ["bytes", "random"])
async def test_a_stream_can_be_cut_anywhere(sim: SimGateway, session: ClientSession, cut: Any) -> None:
    sim.cut = cut
    assert text_of(await frames(session)) == "one two three four"


@pytest.mark.parametrize(
    ("faults", "text", "last"),
    [
        (Faults(no_done=True), "one two three four", "finish_reason"),
        (Faults(no_done=True, no_finish=True), "one two three four", " four"),
        (Faults(malformed_after=1), "one two three four", "[DONE]"),
        (Faults(huge_after=4, huge=10), "one two three four", "[DONE]"),
        (Faults(huge_after=1, huge=10), "one" + "x" * 10 + " two three four", "[DONE]"),
    ],
)
async def test_a_stream_can_be_wrong(
    sim: SimGateway, session: ClientSession, faults: Faults, text: str, last: str
) -> None:
    sim.faults = faults
    datas = await frames(session)
    assert text_of([data for data in datas if data != '{"choices": [{"delta"']) == text
    assert last in datas[-1]


@pytest.mark.parametrize("faults", [Faults(break_after=2), Faults(error_after=2)])
async def test_a_stream_can_break_off(sim: SimGateway, session: ClientSession, faults: Faults) -> None:
    sim.faults = faults
    with pytest.raises(ClientPayloadError):
        await frames(session)


async def test_it_keeps_the_pace_that_is_set() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    sim = SimGateway(text="one two", first_token=5, tokens_per_second=2, sleep=sleep)
    async with open_app(make_gateway(sim)) as url, ClientSession(url) as session:
        await frames(session)
    assert waits == [5, 0.5, 0.5]


def test_a_summary_is_made_of_sentences_that_were_said() -> None:
    note = dict(line.split(": ", 1) for line in answer(SUMMARY, CALL).splitlines())
    assert list(note) == ["Reason", "Actions", "Outcome", "Follow-up"]
    assert "charged $1,250.00 twice" in note["Reason"]
    assert "I can see both payments here." in note["Actions"]
    assert note["Outcome"] == "Perfect, thank you so much."
    assert note["Follow-up"] == "I'll send the second one back to [CARD_1] today."


def test_a_summary_of_nothing_has_its_headings_all_the_same() -> None:
    lines = answer(SUMMARY, "<transcript></transcript>").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Reason", "Actions", "Outcome", "Follow-up"]


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("where is my refund for [CARD_1]?", "[CARD_1]"),
        ("I paid $1,250.00 twice!", "$1,250.00"),
        ("it's order number 88213", "88213"),
        ("so I ordered a wood stove, from the shop", "the wood stove"),
        ("my rent goes out on Monday", "your rent"),
        ("yes", "this"),
    ],
)
def test_a_reply_names_what_the_question_is_about(question: str, topic: str) -> None:
    reply = answer("", f"<transcript>\n</transcript>\n<question>{question}</question>")
    assert topic in reply
    assert len(reply.split()) < 30


def test_the_same_prompt_gives_the_same_text() -> None:
    assert answer("s", "<question>a b</question>") == answer("s", "<question>a b</question>")


def test_any_other_prompt_is_answered_with_its_first_sentences() -> None:
    assert answer("", "Say this. And that! And more? No.") == "Say this. And that! And more?"
    assert answer("", "") == "There was nothing to answer."
