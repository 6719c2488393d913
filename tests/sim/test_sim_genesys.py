from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from attrs import field, frozen
from standardwebhooks import Webhook

from bridge.settings import Secret
from bridge.sim.clock import FakeClock
from bridge.sim.genesys import ORG, Org, SimGenesys, make_genesys, play, post_webhooks
from bridge.sim.serving import open_app

CALL = "62ea6595-667f-4215-a252-12e13204ced0"
QUEUE = "c31d0000-0000-4000-8000-000000000001"
AGENT = "7f0c0000-0000-4000-8000-000000000002"
COMMUNICATION = "127dc0f5-0000-4000-8000-000000000003"
CHANNELS = "/api/v2/notifications/channels"
WORDS = f"v2.conversations.{CALL}.transcription"
ON_QUEUE = f"v2.routing.queues.{QUEUE}.conversations"
WHSEC = "whsec_" + base64.b64encode(b"a secret of the test, 24 B+").decode()


def detail(kind: str, second: int, **more: Any) -> dict[str, Any]:
    body = {"eventTime": 1_774_055_370_000 + second * 1000, "conversationId": CALL, "sessionId": COMMUNICATION, **more}
    topic = f"v2.detail.events.conversation.{CALL}.{kind}"
    return {
        "receivedAt": f"2026-03-21T01:09:{30 + second:02}.000Z",
        "topicName": topic,
        "version": "2",
        "eventBody": body,
    }


def words(second: int, text: str) -> dict[str, Any]:
    best = {"confidence": 0.9, "offsetMs": second * 1000, "durationMs": 500, "transcript": text}
    said = {"utteranceId": f"u-{second}", "isFinal": True, "channel": "EXTERNAL", "alternatives": [best]}
    body = {"conversationId": CALL, "communicationId": COMMUNICATION, "sessionStartTimeMs": 1_774_055_370_000}
    whole = {"eventTime": "2026-03-21T01:09:31.000Z", **body, "transcripts": [said]}
    return {
        "receivedAt": f"2026-03-21T01:09:{30 + second:02}.000Z",
        "topicName": WORDS,
        "version": "2",
        "eventBody": whole,
    }


LINES = [
    detail("customer.start", 0, participantId="p-customer", mediaType="VOICE"),
    detail("user.start", 1, participantId="p-agent", userId=AGENT, queueId=QUEUE),
    words(3, "i moved house"),
    words(7, "the new street is long"),
    detail("customer.end", 9, participantId="p-customer", disconnectType="PEER"),
    detail("acw", 12, participantId="p-agent", userId=AGENT, queueId=QUEUE, wrapupCode="done"),
]


@frozen
class World:
    clock: FakeClock
    org: Org
    http: aiohttp.ClientSession
    token: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "token", self.org.make_token())

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        given = {"Authorization": f"Bearer {self.token}", **headers}
        more = {} if body is None else {"json": body}
        async with self.http.request(method, path, headers={k: v for k, v in given.items() if v}, **more) as answer:
            text = await answer.read()
            assert answer.headers["ININ-Correlation-Id"]
            return answer.status, orjson.loads(text) if text else None

    async def channel(self, *topics: str) -> dict[str, Any]:
        _, made = await self.call("POST", CHANNELS)
        await self.call("POST", f"{CHANNELS}/{made['id']}/subscriptions", [{"id": topic} for topic in topics])
        assert isinstance(made, dict)
        return made


@asynccontextmanager
async def open_world(**sim: Any) -> AsyncIterator[World]:
    clock = FakeClock()
    app = make_genesys(SimGenesys(**sim), clock=clock)
    async with open_app(app) as url, aiohttp.ClientSession(url) as http:
        yield World(clock, app[ORG], http)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return orjson.loads(await socket.receive_str(timeout=2))


# --- login and refusals -------------------------------------------------------------------------------------------


async def log_in(world: World, secret: str, **form: str) -> int:
    basic = base64.b64encode(f"sim-client:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    async with world.http.post("/oauth/token", headers=headers, data=form) as answer:
        return answer.status


async def test_only_the_right_secret_and_grant_get_a_token(world: World) -> None:
    assert await log_in(world, "sim-secret", grant_type="client_credentials") == 200
    assert await log_in(world, "wrong", grant_type="client_credentials") == 401
    assert await log_in(world, "sim-secret", grant_type="password") == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", CHANNELS, {"Authorization": ""}, None, 401, "authentication.required"),
        ("POST", CHANNELS, {"Authorization": "Bearer no"}, None, 401, "bad.credentials"),
        ("GET", "/api/v2/conversations/nobody", {}, None, 404, "not.found"),
        ("GET", "/api/v2/platform/webhooks", {}, None, 404, "not.found"),
        ("DELETE", f"{CHANNELS}/any", {}, None, 405, "method.not.allowed"),
        ("POST", f"{CHANNELS}/any/subscriptions", {}, [], 404, "not.found"),
        ("POST", f"/api/v2/conversations/messages/{CALL}/messages/bulk", {}, {}, 400, "bad.request"),
        ("POST", "/api/v2/analytics/conversations/details/query", {}, None, 415, "unsupported.media.type"),
    ],
)
async def test_a_wrong_call_gets_the_error_body_of_the_api(  # noqa: PLR0917 - one argument a column
    world: World, method: str, path: str, headers: dict[str, str], body: Any, status: int, code: str
) -> None:
    got, answer = await world.call(method, path, body, **headers)
    assert (got, answer["status"], answer["code"]) == (status, status, code)
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["contextId"])


async def test_a_token_ends(world: World) -> None:
    await world.clock.advance(86_401)
    assert (await world.call("GET", CHANNELS))[0] == 401


async def test_the_limit_of_calls_is_told_and_kept() -> None:
    async with open_world(calls_per_minute=2) as world:
        headers = {"Authorization": f"Bearer {world.token}"}
        async with world.http.get(CHANNELS, headers=headers) as answer:
            assert (answer.headers["inin-ratelimit-count"], answer.headers["inin-ratelimit-allowed"]) == ("1", "2")
        assert (await world.call("GET", CHANNELS))[0] == 200
        async with world.http.get(CHANNELS, headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
        await world.clock.advance(60)
        assert (await world.call("GET", CHANNELS))[0] == 200


# --- channels -----------------------------------------------------------------------------------------------------


async def test_post_adds_put_replaces_delete_empties(world: World) -> None:
    path = f"{CHANNELS}/{(await world.channel(ON_QUEUE))['id']}/subscriptions"
    await world.call("POST", path, [{"id": WORDS}])
    assert [each["id"] for each in (await world.call("GET", path))[1]["entities"]] == [ON_QUEUE, WORDS]
    await world.call("PUT", path, [{"id": WORDS}])
    assert [each["id"] for each in (await world.call("GET", path))[1]["entities"]] == [WORDS]
    await world.call("DELETE", path)
    assert (await world.call("GET", path))[1]["entities"] == []


async def test_a_bad_topic_fails_all_unless_errors_are_to_be_ignored(world: World) -> None:
    path = f"{CHANNELS}/{(await world.channel())['id']}/subscriptions"
    wish = [{"id": ON_QUEUE}, {"id": "v2.conversations.{id}.transcription"}]
    assert (await world.call("POST", path, wish))[0] == 400
    assert (await world.call("GET", path))[1]["entities"] == []
    status, answer = await world.call("POST", path + "?ignoreErrors=true", wish)
    assert (status, [each["state"] for each in answer["entities"]]) == (200, ["Permitted", "Rejected"])


async def test_a_channel_holds_a_thousand_topics(world: World) -> None:
    many = [{"id": f"v2.users.{number:08}-0000-4000-8000-000000000000.conversations"} for number in range(1001)]
    path = f"{CHANNELS}/{(await world.channel())['id']}/subscriptions"
    assert (await world.call("POST", path, many[:1000]))[0] == 200
    assert (await world.call("POST", path, many[999:]))[0] == 400


async def test_the_21st_channel_replaces_the_oldest_without_a_socket(world: World) -> None:
    made = [await world.channel() for _ in range(20)]
    async with world.http.ws_connect(made[0]["connectUri"]):
        await world.channel()
        statuses = [(await world.call("HEAD", f"{CHANNELS}/{each['id']}"))[0] for each in made[:3]]
    assert statuses == [200, 404, 200]


async def test_a_channel_ends_after_a_day(world: World) -> None:
    made = await world.channel()
    await world.clock.advance(86_399)
    world.org.tokens[world.token] += 10
    assert (await world.call("HEAD", f"{CHANNELS}/{made['id']}"))[0] == 200
    await world.clock.advance(2)
    assert (await world.call("HEAD", f"{CHANNELS}/{made['id']}"))[0] == 404


async def test_a_second_socket_ends_the_first(world: World) -> None:
    made = await world.channel(ON_QUEUE)
    async with world.http.ws_connect(made["connectUri"]) as first, world.http.ws_connect(made["connectUri"]) as second:
        assert (await first.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE
        await world.org.publish({"topicName": ON_QUEUE, "eventBody": {}})
        assert (await receive(second))["topicName"] == ON_QUEUE


async def test_a_connect_uri_must_be_used_as_it_is(world: World) -> None:
    uri = (await world.channel())["connectUri"]
    for bad in (uri + "?connectionType=streaming", uri[:-1]):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await world.http.ws_connect(bad)


async def test_a_socket_beats_and_answers_pings(world: World) -> None:
    async with world.http.ws_connect((await world.channel())["connectUri"]) as socket:
        await socket.send_str('{"message":"ping"}')
        assert (await receive(socket))["eventBody"]["message"] == "pong"
        await world.clock.advance(30)
        assert await receive(socket) == {
            "topicName": "channel.metadata",
            "eventBody": {"message": "WebSocket Heartbeat"},
        }


async def test_topics_can_be_changed_on_the_socket(world: World) -> None:
    made = await world.channel()
    channel = world.org.channels[made["id"]]

    async def ask(**wish: Any) -> Any:
        await socket.send_str(orjson.dumps(wish).decode())
        return await receive(socket)

    async with world.http.ws_connect(made["connectUri"]) as socket:
        answer = await ask(message="subscribe", topics=[ON_QUEUE], correlationId="7")
        assert answer == {"result": "200", "status": "subscribed", "correlationId": "7"}
        assert channel.hears(ON_QUEUE)
        assert (await ask(message="subscribe", topics=["v2.no"]))["result"] == "400"
        assert (await ask(message="unsubscribe", topics=[ON_QUEUE]))["result"] == "200"
        assert not channel.hears(ON_QUEUE)
        await socket.send_str("no json")
        assert (await receive(socket))["result"] == "400"


async def test_combined_topics_arrive_under_their_single_names(world: World) -> None:
    made = await world.channel(f"v2.users.{AGENT}?presence&routingStatus")
    async with world.http.ws_connect(made["connectUri"]) as socket:
        await world.org.publish({"topicName": f"v2.users.{AGENT}.routingStatus", "eventBody": {}})
        assert (await receive(socket))["topicName"].endswith(".routingStatus")


# --- recordings ---------------------------------------------------------------------------------------------------


async def hear(socket: aiohttp.ClientWebSocketResponse, many: int) -> list[Any]:
    return [await receive(socket) for _ in range(many)]


async def test_a_recording_is_published_to_those_who_want_its_topics(world: World) -> None:
    made = await world.channel(ON_QUEUE, WORDS, f"v2.detail.events.conversation.{CALL}.acw")
    async with world.http.ws_connect(made["connectUri"]) as socket:
        assert await play(world.org, LINES) == 6
        frames = await hear(socket, 7)
    kinds = [frame["topicName"].rsplit(".", 1)[1] for frame in frames]
    assert kinds == [*["conversations"] * 3, "transcription", "transcription", "conversations", "acw"]
    assert "receivedAt" not in frames[3]
    assert frames[3]["eventBody"] == LINES[2]["eventBody"]


async def test_the_snapshots_tell_who_takes_part_and_that_it_ended(world: World) -> None:
    made = await world.channel(ON_QUEUE, WORDS)
    async with world.http.ws_connect(made["connectUri"]) as socket:
        await play(world.org, LINES)
        first, *_, last = [frame for frame in await hear(socket, 6) if frame["topicName"] == ON_QUEUE]
    assert [who["purpose"] for who in first["eventBody"]["participants"]] == ["acd", "customer"]
    ended = {who["purpose"]: who for who in last["eventBody"]["participants"]}
    assert ended["customer"]["calls"][0]["state"] == ended["agent"]["calls"][0]["state"] == "disconnected"
    assert ended["agent"]["userId"] == AGENT
    status, found = await world.call("GET", f"/api/v2/conversations/{CALL}")
    assert (status, found) == (200, last["eventBody"])


async def test_one_of_two_customers_leaves_alone_and_the_last_one_leaves_nobody(world: World) -> None:
    call = world.org.call(CALL)
    for line in (LINES[0], detail("customer.start", 1, participantId="p-second"), LINES[1], LINES[4]):
        call.take(line)
    assert [who["id"] for who in call.participants.values() if "endTime" in who] == ["p-customer"]
    call.take(detail("customer.end", 9, participantId="p-second"))
    assert call.ended
    assert all("endTime" in who for who in call.participants.values())


async def test_what_belongs_to_no_conversation_is_only_published(world: World) -> None:
    topic = f"v2.users.{AGENT}.presence"
    made = await world.channel(topic)
    async with world.http.ws_connect(made["connectUri"]) as socket:
        await play(world.org, [{"topicName": topic, "eventBody": {"presenceDefinition": {}}}])
        assert (await receive(socket))["topicName"] == topic
    assert not world.org.calls


async def test_it_rings_until_someone_listens_and_no_longer_than_told(world: World) -> None:
    playing = asyncio.ensure_future(play(world.org, LINES, ring=5))
    await world.clock.advance(4.9)
    assert not playing.done()
    await world.channel(WORDS)
    assert await playing == 6


async def test_recorded_gaps_are_kept_at_speed(world: World) -> None:
    await world.channel(WORDS)
    playing = asyncio.ensure_future(play(world.org, LINES, speed=2))
    await world.clock.advance(5.9)
    assert not playing.done()
    await world.clock.advance(0.2)
    assert playing.done()


async def test_a_transcript_is_ready_some_time_after_the_end(world: World) -> None:
    await world.channel(WORDS)
    await play(world.org, LINES)
    path = f"/api/v2/speechandtextanalytics/conversations/{CALL}/communications/{COMMUNICATION}/transcripturl"
    assert (await world.call("GET", path))[0] == 404
    await world.clock.advance(60)
    _, answer = await world.call("GET", path)
    async with world.http.get(answer["url"]) as got:
        phrases = (await got.json())["transcripts"][0]["phrases"]
    assert [phrase["text"] for phrase in phrases] == ["i moved house", "the new street is long"]
    async with world.http.get(answer["url"], headers={"Authorization": f"Bearer {world.token}"}) as refused:
        assert refused.status == 400


@pytest.fixture
async def door() -> AsyncIterator[tuple[str, list[tuple[Any, bytes]], list[int]]]:
    """A receiver, what it received, and the statuses it shall answer first."""
    received: list[tuple[Any, bytes]] = []
    statuses: list[int] = []

    async def take(request: web.Request) -> web.Response:
        received.append((request.headers, await request.read()))
        known = [body for _, body in received[:-1]].count(received[-1][1])
        return web.json_response({"id": "e", "duplicate": known > 0}, status=statuses.pop(0) if statuses else 202)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with open_app(app) as url:
        yield url + "/hook", received, statuses


Door = tuple[str, list[tuple[Any, bytes]], list[int]]


async def test_webhooks_are_signed_and_posted_again_when_there_is_no_room(world: World, door: Door) -> None:
    url, received, statuses = door
    statuses.extend([202, 503, 429])
    posting = asyncio.ensure_future(post_webhooks(url, Secret(WHSEC), LINES, clock=world.clock))
    while not posting.done():
        await asyncio.wait({posting}, timeout=0.001)
        await world.clock.advance(0.5)
    posted = await posting
    assert (posted.accepted, posted.retries, posted.refused, len(received)) == (6, 2, 0, 8)
    assert len({headers["webhook-id"] for headers, _ in received}) == 6
    headers, body = received[0]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert headers["webhook-signature"] == Webhook(WHSEC).sign(headers["webhook-id"], at, body.decode())
    assert orjson.loads(body)["eventBody"] == LINES[0]["eventBody"]


async def test_eventbridge_wraps_the_envelope_and_brings_its_token(world: World, door: Door) -> None:
    url, received, _ = door
    await post_webhooks(url, Secret("key"), LINES[2:3], clock=world.clock, wrap="eventbridge")
    headers, body = received[0]
    event = orjson.loads(body)
    assert (headers["Authorization"], event["detail-type"]) == ("Bearer key", "v2.conversations.{id}.transcription")
    assert event["detail"]["topicName"] == WORDS
    assert event["detail"]["eventBody"] == LINES[2]["eventBody"]
