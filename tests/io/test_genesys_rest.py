from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.genesys.answers import entries, mapping, message_text, topic_state, why_refused
from bridge.errors import ConfigError, GenesysError
from bridge.io.genesys import GenesysClient, open_genesys
from bridge.settings import GenesysSettings, Secret
from bridge.sim.clock import FakeClock
from bridge.sim.genesys import ORG, Org, SimGenesys, make_genesys
from bridge.sim.serving import open_app

T = TypeVar("T")
CALL = "62ea6595-667f-4215-a252-12e13204ced0"
AGENT = "7f0c0000-0000-4000-8000-000000000001"
CONVERSATION = f"/api/v2/conversations/{CALL}"


@frozen
class World:
    clock: FakeClock
    org: Org
    client: GenesysClient
    url: str

    def calls(self, path: str) -> int:
        return sum(called == path for _, called in self.org.requests)


@asynccontextmanager
async def open_world(random: Callable[[], float] = lambda: 0.5, **sim: Any) -> AsyncIterator[World]:
    clock = FakeClock()
    app = make_genesys(SimGenesys(**sim), clock=clock)
    sim_org = app[ORG]
    start = {"eventTime": clock.now_ms(), "conversationId": CALL, "participantId": "p-1", "sessionId": "s-1"}
    sim_org.call(CALL).take({"topicName": f"v2.detail.events.conversation.{CALL}.customer.start", "eventBody": start})
    async with open_app(app) as url:
        org = GenesysSettings(
            api_url=url, login_url=url + "/", client_id="sim-client", client_secret=sim_org.settings.client_secret
        )
        async with open_genesys(org, clock=clock, random=random) as client:
            yield World(clock, sim_org, client, url)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


async def passing(world: World, call: Awaitable[T]) -> T:
    """The answer of a call that waits on the way, with the clock pushed until it comes."""
    waiting = asyncio.ensure_future(call)
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=0.001)
        await world.clock.advance(0.5)
    return await waiting


async def test_a_conversation_comes_as_genesys_has_it(world: World) -> None:
    found = await world.client.conversation(CALL)
    assert (found["id"], found["participants"][1]["id"]) == (CALL, "p-1")


async def test_one_token_serves_until_a_minute_before_its_end(world: World) -> None:
    await world.client.conversation(CALL)
    await world.clock.advance(86_400 - 61)
    await world.client.conversation(CALL)
    assert world.calls("/oauth/token") == 1
    await world.clock.advance(2)
    await world.client.conversation(CALL)
    assert world.calls("/oauth/token") == 2


async def test_the_token_itself_comes_as_a_secret(world: World) -> None:
    assert world.org.knows((await world.client.token()).show())


async def test_many_who_wait_for_a_token_log_in_once(world: World) -> None:
    await asyncio.gather(*(world.client.conversation(CALL) for _ in range(30)))
    assert (world.calls("/oauth/token"), world.calls(CONVERSATION)) == (1, 30)


async def test_one_who_leaves_does_not_take_the_log_in_from_the_others(world: World) -> None:
    first, second = (asyncio.ensure_future(world.client.conversation(CALL)) for _ in range(2))
    await world.clock.settle()
    first.cancel()
    assert (await second)["id"] == CALL


async def test_a_refused_token_is_renewed_once(world: World) -> None:
    await world.client.conversation(CALL)
    world.org.tokens.clear()
    assert (await world.client.conversation(CALL))["id"] == CALL
    assert world.calls("/oauth/token") == 2


async def test_a_new_token_that_is_refused_too_ends_it(world: World) -> None:
    world.org.answers.extend([200, 401, 200, 401])
    with pytest.raises(GenesysError, match="401: the token is refused") as caught:
        await world.client.conversation(CALL)
    assert (caught.value.status, caught.value.retryable, world.calls(CONVERSATION)) == (401, False, 2)


async def test_a_wrong_secret_says_where_to_look(world: World) -> None:
    org = GenesysSettings(api_url=world.url, login_url=world.url, client_id="sim-client", client_secret=Secret("wrong"))
    async with open_genesys(org, clock=world.clock, random=lambda: 0.5) as client:
        with pytest.raises(GenesysError, match=r"oauth/token: 401: check \[genesys\] client_id") as caught:
            await client.conversation(CALL)
    assert not caught.value.retryable


async def test_a_missing_permission_is_named() -> None:
    async with open_world(lacking=frozenset({"conversation:communication:view"})) as world:
        with pytest.raises(GenesysError, match=r"lacks a permission: conversation:communication:view, corr") as caught:
            await world.client.conversation(CALL)
    assert (caught.value.status, caught.value.retryable) == (403, False)


async def test_the_limit_of_calls_is_waited_for_as_long_as_it_says_and_a_little_more() -> None:
    waits = asyncio.Event()

    def random() -> float:
        waits.set()  # chance is asked for the moment before the wait begins
        return 0.5

    async with open_world(random) as world:
        world.org.answers.extend([200, 429])
        world.org.retry_after = "42"
        waiting = asyncio.ensure_future(world.client.conversation(CALL))
        await waits.wait()
        await world.clock.advance(42.4)
        assert world.calls(CONVERSATION) == 1
        await world.clock.advance(0.2)
        assert (await waiting)["id"] == CALL


async def test_a_date_to_come_back_at_is_waited_for(world: World) -> None:
    await world.client.conversation(CALL)
    world.org.answers.append(429)
    world.org.retry_after = formatdate(world.clock.now_ms() / 1000 + 20, usegmt=True)
    before = world.clock.monotonic()
    await passing(world, world.client.conversation(CALL))
    assert 20 <= world.clock.monotonic() - before < 22


async def test_a_real_limit_is_obeyed() -> None:
    async with open_world(calls_per_minute=3) as world:
        for _ in range(4):
            await passing(world, world.client.conversation(CALL))
        assert world.clock.monotonic() >= 59


@pytest.mark.parametrize("fault", [500, 503, 0])
async def test_what_may_pass_is_tried_again(world: World, fault: int) -> None:
    world.org.answers.extend([200, fault, fault])
    assert (await passing(world, world.client.conversation(CALL)))["id"] == CALL
    assert world.calls(CONVERSATION) == 3


async def test_tries_have_an_end_and_full_jitter(world: World) -> None:
    world.org.answers.extend([200, *[503] * 9])
    with pytest.raises(GenesysError, match=r"503: internal.server.error, correlation id [0-9a-f-]{36}") as caught:
        await passing(world, world.client.conversation(CALL))
    assert (world.calls(CONVERSATION), caught.value.retryable) == (6, True)
    assert world.clock.monotonic() >= 0.5 * (1 + 2 + 4 + 8 + 16)


@pytest.mark.parametrize("fault", [503, 0])
async def test_a_post_that_is_not_marked_is_never_sent_twice(world: World, fault: int) -> None:
    world.org.answers.extend([200, fault])
    with pytest.raises(GenesysError):
        await passing(world, world.client._call("POST", "/api/v2/notifications/channels"))
    assert world.calls("/api/v2/notifications/channels") == 1


async def test_the_text_of_messages_is_fetched_by_id(world: World) -> None:
    world.org.messages |= {(CALL, "m-1"): "where is my parcel", (CALL, "m-2"): "it is late"}
    assert await world.client.message(CALL, "m-1") == "where is my parcel"
    assert await world.client.messages_bulk(CALL, ["m-2", "m-9"]) == {"m-2": "it is late"}


async def test_an_id_cannot_lead_to_another_call(world: World) -> None:
    for bad in ("../../oauth", "a/b", "a?b", "", "a%2fb", "ä"):
        with pytest.raises(GenesysError, match="an id should be"):
            await world.client.conversation(bad)
    assert not world.org.requests


async def test_a_channel_is_made_with_a_new_token_and_replaced_before_it_ends(world: World) -> None:
    await world.client.conversation(CALL)
    await world.clock.advance(80_000)
    grant = await world.client.create_channel()
    assert (grant.life, world.calls("/oauth/token")) == (23 * 3600, 2)
    assert world.org.live_channels()[0].expires == 166_400


async def test_a_channel_lives_no_longer_than_its_token() -> None:
    async with open_world(token_life=1800) as world:
        assert (await world.client.create_channel()).life == 1680


async def test_topics_are_added_or_replaced_and_each_refusal_is_told() -> None:
    queue, words = f"v2.routing.queues.{CALL}.conversations", f"v2.conversations.{CALL}.transcription"
    async with open_world(lacking=frozenset({"conversation:transcription:view"})) as world:
        channel = (await world.client.create_channel()).id
        states = await world.client.subscribe(channel, [queue, words, "v2.no.such.topic"])
        assert [state.permitted for state in states] == [True, False, False]
        assert states[1].missing == ("conversation:transcription:view",)
        assert "v2.no.such.topic" in states[2].reason
        await world.client.put_subscriptions(channel, [f"v2.users.{AGENT}.conversations"])
        assert list(world.org.live_channels()[0].topics) == [f"v2.users.{AGENT}.conversations"]


async def test_a_channel_that_has_ended_does_not_exist(world: World) -> None:
    channel = (await world.client.create_channel()).id
    assert await world.client.channel_exists(channel)
    world.org.forget_channels()
    assert not await world.client.channel_exists(channel)


async def test_active_conversations_are_found_by_queue(world: World) -> None:
    assert await world.client.active_conversations([world.org.settings.queue], []) == [CALL]
    assert await world.client.active_conversations([AGENT], []) == []


async def test_all_pages_of_active_conversations_are_read(world: World) -> None:
    for number in range(250):
        world.org.call(f"{number:08}-0000-4000-8000-000000000000")
    assert len(await world.client.active_conversations([world.org.settings.queue], [])) == 251


async def test_a_redirect_is_not_followed_and_a_long_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.io.genesys.MAX_ANSWER", 1000)

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/oauth/token":
            return web.json_response({"access_token": "t", "expires_in": 900})
        if request.path.endswith("far"):
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=b" " * 2000)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with open_app(app) as url:
        org = GenesysSettings(api_url=url, login_url=url, client_id="c", client_secret=Secret("s"))
        async with open_genesys(org, clock=FakeClock(), random=lambda: 0.5) as client:
            with pytest.raises(GenesysError, match="302"):
                await client.conversation("far")
            with pytest.raises(GenesysError, match="longer than 1000"):
                await client.conversation("long")


async def test_an_answer_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.io.genesys.TIMEOUT", aiohttp.ClientTimeout(total=0.02))
    asked, over = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/oauth/token", answer)
    async with open_app(app) as url:
        org = GenesysSettings(api_url=url, login_url=url, client_id="c", client_secret=Secret("s"))
        async with open_genesys(org, clock=(clock := FakeClock()), random=lambda: 0.0) as client:
            waiting = asyncio.ensure_future(client.conversation(CALL))
            await asked.wait()
            with pytest.raises(GenesysError, match=r"oauth/token: no answer within 0.02 s") as caught:
                await waiting
        over.set()
    assert (caught.value.retryable, clock.monotonic()) == (True, 0)


async def test_an_active_conversation_whose_id_is_none_is_passed_over() -> None:
    odd = [{"conversationId": one} for one in ("jane@example.com", "a\nb", {"a": 1}, 7, None, "plain-1")]

    async def answer(request: web.Request) -> web.Response:
        token = {"access_token": "t", "expires_in": 900}
        return web.json_response(token if request.path == "/oauth/token" else {"conversations": odd})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with open_app(app) as url:
        org = GenesysSettings(api_url=url, login_url=url, client_id="c", client_secret=Secret("s"))
        async with open_genesys(org, clock=FakeClock(), random=lambda: 0.5) as client:
            assert await client.active_conversations(["q"], []) == ["plain-1"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1/channels/x", "", None, 7])
async def test_a_connect_uri_that_is_none_is_refused(uri: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        token = {"access_token": "t", "expires_in": 900}
        return web.json_response(token if request.path == "/oauth/token" else {"id": "x", "connectUri": uri})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with open_app(app) as url:
        org = GenesysSettings(api_url=url, login_url=url, client_id="c", client_secret=Secret("s"))
        async with open_genesys(org, clock=FakeClock(), random=lambda: 0.5) as client:
            with pytest.raises(GenesysError, match="no connectUri that begins with ws://"):
                await client.create_channel()


@pytest.mark.parametrize(
    "org",
    [
        GenesysSettings(domain="mypurecloud.de"),
        GenesysSettings(domain="mypurecloud.de", client_id="c"),
        GenesysSettings(client_id="c", client_secret=Secret("s")),
    ],
)
async def test_without_credentials_or_a_region_it_does_not_open(org: GenesysSettings) -> None:
    with pytest.raises(ConfigError, match=r"genesys\.(client_id|domain)"):
        async with open_genesys(org, clock=FakeClock(), random=lambda: 0.5):
            pass


async def test_no_secret_is_in_a_record_an_error_or_a_repr(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    grant = await world.client.create_channel()
    world.org.forget_channels()
    with pytest.raises(GenesysError) as caught:
        await world.client.subscribe(grant.id, ["v2.no"])
    world.org.answers.append(0)
    await passing(world, world.client.channel_exists(grant.id))
    written = [caplog.text, *(str(vars(record)) for record in caplog.records), repr(world.client), repr(grant)]
    written += [str(caught.value), repr(caught.value), repr(world.client._token)]
    secrets = [*world.org.tokens, "sim-secret", grant.id.show(), grant.uri.show()]
    assert any("correlation" in record for record in written)
    assert not [(secret, text) for secret in secrets for text in written if secret in text]


@pytest.mark.parametrize("state", ["Rejected", "Pending", None, 1])
def test_a_topic_that_is_not_plainly_permitted_is_not(state: Any) -> None:
    assert not topic_state({"id": "t", "state": state}).permitted
    assert topic_state({"id": "t", "state": "Permitted"}).permitted


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["entities", "id", "code", "message"]), inner),
    max_leaves=6,
)


def test_an_answer_that_nests_too_deep_names_no_permission() -> None:
    deep = json.loads('{"message":' + "[" * 600 + "]" * 600 + "}")
    assert "the answer does not name it" in why_refused(403, deep)


@settings(max_examples=60)
@given(anything, st.sampled_from([400, 401, 403, 500]))
def test_an_answer_of_any_shape_can_be_read(body: Any, status: int) -> None:
    assert why_refused(status, body).isprintable()
    for entity in entries(body, "entities"):
        assert topic_state(entity).permitted is False
    assert message_text(mapping(body)) == ""
