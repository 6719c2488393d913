from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import gzip
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from attrs import define, field

from bridge.core.events import ConversationEnded, QueueConversation
from bridge.core.genesys import parse
from bridge.errors import ConfigError, GenesysError, RejectedError
from bridge.io.genesys import GenesysClient, open_genesys
from bridge.io.metrics import LABELS
from bridge.io.notifications import listen
from bridge.io.notifications.wire import MAX_FRAME, Channel, Socket, dial
from bridge.ports import Accepted
from bridge.settings import GenesysSettings, Secret
from bridge.sim.clock import FakeClock
from bridge.sim.genesys import ORG, Org, SimGenesys, Wrap, make_genesys, play, post_webhooks
from bridge.sim.genesys_calls import Call
from bridge.sim.serving import open_app

QUEUE = "c31d0000-0000-4000-8000-000000000001"
AGENT = "7f0c0000-0000-4000-8000-000000000002"
WHSEC = "whsec_" + base64.b64encode(b"a secret of the test, 24 B+").decode()
RECORDINGS = Path(__file__).parents[2].parent / "shared" / "recordings" / "primock57"
ON_QUEUE = f"v2.routing.queues.{QUEUE}.conversations"


def call_id(number: int = 1) -> str:
    return f"62ea6595-0000-4000-8000-{number:012}"


def detail(call: str, kind: str, second: int, **more: Any) -> dict[str, Any]:
    body = {"eventTime": 1_774_055_370_000 + second * 1000, "conversationId": call, "sessionId": f"s-{call}", **more}
    topic = f"v2.detail.events.conversation.{call}.{kind}"
    return {
        "receivedAt": f"2026-03-21T01:09:{30 + second:02}.000Z",
        "topicName": topic,
        "version": "2",
        "eventBody": body,
    }


def words(call: str, second: int) -> dict[str, Any]:
    best = {"confidence": 0.9, "offsetMs": second * 1000, "durationMs": 500, "transcript": f"word {second}"}
    said = {"utteranceId": f"u-{second}", "isFinal": True, "channel": "EXTERNAL", "alternatives": [best]}
    body = {"conversationId": call, "communicationId": f"s-{call}", "sessionStartTimeMs": 1_774_055_370_000}
    return {
        "receivedAt": f"2026-03-21T01:09:{30 + second:02}.000Z",
        "topicName": f"v2.conversations.{call}.transcription",
        "version": "2",
        "eventBody": {"eventTime": "2026-03-21T01:09:31.000Z", **body, "transcripts": [said]},
        "metadata": {"CorrelationId": f"trace-{second}"},
    }


def beginning(call: str) -> list[dict[str, Any]]:
    return [
        detail(call, "customer.start", 0, participantId="p-customer", mediaType="VOICE", direction="INBOUND"),
        detail(call, "user.start", 1, participantId="p-agent", userId=AGENT, queueId=QUEUE),
    ]


def end(call: str) -> list[dict[str, Any]]:
    return [
        detail(call, "customer.end", 20, participantId="p-customer", disconnectType="PEER"),
        detail(call, "user.end", 20, participantId="p-agent", userId=AGENT, queueId=QUEUE, disconnectType="PEER"),
        detail(call, "acw", 25, participantId="p-agent", userId=AGENT, queueId=QUEUE, wrapupCode="done"),
    ]


def recording(call: str, *seconds: int) -> list[dict[str, Any]]:
    return [*beginning(call), *(words(call, second) for second in seconds or range(2, 12)), *end(call)]


def joined(org: Org) -> Call:
    """A conversation whose customer is there."""
    call = org.call(call_id())
    call.take(beginning(call.id)[0])
    return call


@define(eq=False)
class Ear:
    """An accept that remembers, and refuses when it is told to."""

    heard: list[Mapping[str, Any]] = field(factory=list)
    refusals: list[RejectedError] = field(factory=list)
    closed: bool = False

    async def __call__(self, envelope: Mapping[str, Any]) -> Accepted:
        if self.closed:
            raise RejectedError(503, "full", "the disk is full")
        if self.refusals:
            raise self.refusals.pop(0)
        events = parse(envelope)
        self.heard.append(envelope)
        return Accepted(events[0].id, duplicate=False)

    def said(self) -> list[str]:
        """Utterances in the order they came."""
        return [
            envelope["eventBody"]["transcripts"][0]["utteranceId"]
            for envelope in self.heard
            if envelope["topicName"].endswith(".transcription")
        ]

    def ids(self) -> set[str]:
        return {event.id for envelope in self.heard for event in parse(envelope)}


@define(eq=False)
class World:
    clock: FakeClock
    org: Org
    ear: Ear
    notes: list[tuple[str, dict[str, Any]]]
    listening: asyncio.Task[None] | None = None

    def noted(self, action: str) -> list[dict[str, Any]]:
        return [fields for noted, fields in self.notes if noted == action]

    def connected(self) -> list[Any]:
        return [channel for channel in self.org.live_channels() if channel.socket is not None]

    async def soon(self, fact: Callable[[], bool]) -> None:
        """Until the fact holds, without time passing."""
        for _ in range(3000):
            if fact():
                return
            await self.clock.settle()
        raise AssertionError(f"never came true; {self.notes[-5:]}")

    async def later(self, fact: Callable[[], bool], *, step: float = 0.5) -> None:
        """Until the fact holds, with time passing."""
        for _ in range(400):
            if fact():
                return
            await self.clock.advance(step)
        raise AssertionError(f"never came true; {self.notes[-5:]}")


def silent(action: str, **fields: Any) -> None:
    """An on_note for those who look elsewhere."""


@asynccontextmanager
async def open_world(
    *follow: str, prepare: Callable[[Org], None] = lambda _: None, at_once: bool = True, **sim: Any
) -> AsyncIterator[World]:
    """A listener on a simulated org, up to its first subscription."""
    clock, ear = FakeClock(), Ear()
    notes: list[tuple[str, dict[str, Any]]] = []
    app = make_genesys(SimGenesys(queue=QUEUE, **sim), clock=clock)
    world = World(clock, app[ORG], ear, notes)
    prepare(world.org)
    async with open_app(app) as url, asyncio.TaskGroup() as group:
        org = GenesysSettings(
            api_url=url, login_url=url, client_id="sim-client", client_secret=app[ORG].settings.client_secret
        )
        async with open_genesys(org, clock=clock, random=lambda: 0.5) as genesys:
            world.listening = group.create_task(
                listen(
                    genesys,
                    ear,
                    follow or (f"queue:{QUEUE}",),
                    clock=clock,
                    random=lambda: 0.5,
                    on_note=lambda action, **fields: notes.append((action, fields)),
                )
            )
            try:
                await (world.soon if at_once else world.later)(lambda: bool(world.noted("channel_opened")))
                yield world
            finally:
                world.listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await world.listening


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


async def test_following_a_queue_brings_whole_conversations_in_order(world: World) -> None:
    await play(world.org, recording(call_id()))
    await world.soon(lambda: f"{call_id()}:ended" in world.ear.ids() and len(world.ear.said()) == 10)
    assert world.ear.said() == [f"u-{second}" for second in range(2, 12)]
    assert world.org.lost == 0


@pytest.mark.parametrize("wrap", ["standard", "eventbridge"])
async def test_socket_and_webhook_tell_the_same_facts(world: World, wrap: Wrap) -> None:
    await play(world.org, recording(call_id()))
    await world.soon(lambda: any(envelope["topicName"].endswith("acw") for envelope in world.ear.heard))
    by_webhook = Ear()

    async def take(request: web.Request) -> web.Response:
        return web.json_response({"id": (await by_webhook(orjson.loads(await request.read()))).id}, status=202)

    app = web.Application()
    app.router.add_post("/", take)
    async with open_app(app) as url:
        posted = await post_webhooks(url, Secret(WHSEC), recording(call_id()), clock=world.clock, wrap=wrap)
    assert (posted.accepted, posted.refused) == (15, 0)
    assert by_webhook.ids() <= world.ear.ids()
    more = [event for envelope in world.ear.heard for event in parse(envelope) if event.id not in by_webhook.ids()]
    assert {type(event) for event in more} == {QueueConversation, ConversationEnded}


async def test_every_word_of_many_conversations_at_once_is_heard() -> None:
    """Real speech, when the shared recordings are at hand."""
    if not RECORDINGS.is_dir():
        pytest.skip("there are no recordings beside the repository")
    files = sorted(RECORDINGS.glob("*.jsonl.gz"))[:3]
    lines = [orjson.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    follow = {line["eventBody"]["queueId"] for line in lines if "queueId" in line["eventBody"]}
    async with open_world(*(f"queue:{queue}" for queue in follow)) as world:
        await play(world.org, lines)
        told = Ear()
        for line in lines:
            await told({key: value for key, value in line.items() if key != "receivedAt"})
        await world.soon(lambda: told.ids() <= world.ear.ids())


async def test_a_followed_user_is_heard_too() -> None:
    async with open_world(f"user:{AGENT}") as world:
        playing = asyncio.ensure_future(play(world.org, recording(call_id(), 3), ring=5))
        await world.later(playing.done)
        await world.soon(lambda: f"{call_id()}:ended" in world.ear.ids())


async def test_a_conversation_that_was_there_before_is_found_at_the_start() -> None:
    def prepare(org: Org) -> None:
        org.call(call_id()).take(beginning(call_id())[0])

    async with open_world(prepare=prepare) as world:
        topic = f"v2.conversations.{call_id()}.transcription"
        await world.soon(lambda: any(channel.hears(topic) for channel in world.connected()))
        assert world.ear.heard[0]["topicName"] == ON_QUEUE


async def test_refused_topics_are_said_and_the_rest_goes_on() -> None:
    async with open_world(lacking=frozenset({"conversation:transcription:view"})) as world:
        playing = asyncio.ensure_future(play(world.org, recording(call_id()), ring=5))
        await world.later(playing.done)
        await world.soon(lambda: f"{call_id()}:ended" in world.ear.ids())
        (rejected,) = world.noted("topic_rejected")
        assert rejected["topic"] == f"v2.conversations.{call_id()}.transcription"
        assert rejected["permissions"] == "conversation:transcription:view"
        assert rejected["level"] == "error"


async def test_a_bad_frame_is_said_and_the_socket_lives_on(world: World) -> None:
    bad: list[str | bytes] = [b"\xff\xfe", "", "{", "[]", "[" * 100_000, "null", '"text"', "12"]
    for frame in bad:
        await world.org.say(frame)
    await world.org.publish({"topicName": ON_QUEUE, "eventBody": {"id": 7}})
    await world.org.publish({"topicName": ON_QUEUE, "eventBody": "odd"})
    await world.org.say('{"eventBody":{}}')
    await world.org.publish({"topicName": ON_QUEUE, "eventBody": {"id": call_id(), "participants": []}})
    await world.soon(lambda: len(world.ear.heard) == 1)
    assert len(world.noted("frame_bad")) == len(bad)
    assert len(world.connected()) == len(world.noted("channel_opened")) == 1


async def test_a_frame_that_is_no_event_of_ours_is_refused_and_said(world: World) -> None:
    world.ear.refusals.append(RejectedError(422, "payload", "eventBody.id: nothing came"))
    await world.org.publish({"topicName": ON_QUEUE, "eventBody": {"id": call_id(), "participants": []}})
    await world.soon(lambda: bool(world.noted("frame_refused")))
    assert world.noted("frame_refused")[0]["code"] == "payload"
    assert not world.ear.heard


async def test_while_the_engine_takes_none_a_frame_waits_and_none_is_lost(world: World) -> None:
    world.ear.refusals.extend([RejectedError(503, "full", "the disk is full", retry_after=7)] * 2)
    await play(world.org, recording(call_id()))
    await world.soon(lambda: bool(world.noted("frame_waiting")))
    await world.clock.advance(6.9)
    assert not world.ear.heard
    await world.later(lambda: f"{call_id()}:ended" in world.ear.ids())
    assert world.ear.said() == [f"u-{second}" for second in range(2, 12)]


async def test_after_a_cut_it_comes_back_and_looks_up_what_it_missed(world: World) -> None:
    first, second = call_id(1), call_id(2)
    await play(world.org, [*beginning(first), words(first, 3), *beginning(second)])
    await world.soon(lambda: len(world.ear.said()) == 1)
    world.org.drop()
    await world.soon(lambda: not world.connected())
    await play(world.org, [words(first, 5), *end(first)], ring=0)
    await world.later(lambda: bool(world.connected()))
    await world.later(lambda: f"{first}:ended" in world.ear.ids())
    assert {note["conversation"] for note in world.noted("gap")} == {first, second}
    assert world.noted("channel_left")[0]["kind"] == "dropped"
    assert len(world.org.channels) == 1
    await play(world.org, [words(second, 9)], ring=0)
    await world.soon(lambda: world.ear.said() == ["u-3", "u-9"])


async def test_a_conversation_that_began_in_a_gap_is_found(world: World) -> None:
    world.org.drop()
    await world.soon(lambda: not world.connected())
    await play(world.org, beginning(call_id(3)), ring=0)
    topic = f"v2.conversations.{call_id(3)}.transcription"
    await world.later(lambda: any(channel.hears(topic) for channel in world.connected()))


async def test_a_channel_that_has_gone_is_replaced_with_all_its_topics(world: World) -> None:
    await play(world.org, beginning(call_id()))
    await world.soon(lambda: len(world.org.live_channels()[0].topics) == 7)
    world.org.forget_channels()
    world.org.drop()
    await world.later(lambda: bool(world.connected()) and len(world.connected()[0].topics) == 7)
    assert len(world.org.channels) == 2


async def test_a_channel_that_refuses_its_topics_is_left_for_another() -> None:
    async with open_world(prepare=lambda org: org.answers.extend([200, 200, 404]), at_once=False) as world:
        assert "404" in world.noted("channel_failed")[0]["why"]
        assert (len(world.org.channels), len(world.connected())) == (2, 1)


async def test_a_channel_that_has_gone_when_topics_are_added_is_replaced(world: World) -> None:
    world.org.answers.append(404)
    await world.org.publish_snapshot(joined(world.org))
    await world.later(lambda: len(world.noted("channel_opened")) == 2)
    assert world.noted("channel_left")[0]["kind"] == "gone"
    assert len(world.connected()[0].topics) == 7


async def test_a_channel_that_is_fuller_than_we_know_gets_the_whole_list_anew(world: World) -> None:
    channel = world.connected()[0]
    channel.topics |= {f"v2.users.{number:08}-0000-4000-8000-000000000000.presence": None for number in range(999)}
    await world.org.publish_snapshot(joined(world.org))
    await world.soon(lambda: len(channel.topics) == 7)
    assert channel.hears(ON_QUEUE)


async def test_a_conversation_that_no_longer_exists_is_let_go(world: World) -> None:
    await play(world.org, beginning(call_id()))
    await world.soon(lambda: len(world.org.live_channels()[0].topics) == 7)
    world.org.calls.clear()
    world.org.drop()
    await world.later(lambda: bool(world.noted("gap_unrecovered")))
    assert world.noted("gap_unrecovered")[0]["conversation"] == call_id()
    await world.later(lambda: list(world.org.live_channels()[0].topics) == [ON_QUEUE])


async def test_before_maintenance_the_new_socket_is_there_first(world: World) -> None:
    call = call_id()
    await play(world.org, beginning(call))
    await world.soon(lambda: len(world.org.live_channels()[0].topics) == 7)
    before = world.connected()[0].socket
    await world.org.announce_closing()
    for second in range(2, 50):
        await play(world.org, [words(call, second % 30)], ring=0)
    await world.soon(lambda: len(world.ear.said()) == 48)
    assert world.connected()[0].socket is not before
    assert world.ear.said() == [f"u-{second % 30}" for second in range(2, 50)]
    assert (world.org.lost, world.noted("gap"), len(world.org.channels)) == (0, [], 1)


async def test_a_channel_is_renewed_in_time_and_nothing_is_lost() -> None:
    async with open_world(token_life=600) as world:
        call = call_id()
        await play(world.org, beginning(call))
        for second in range(2, 26):
            await play(world.org, [words(call, second)], ring=0)
            await world.clock.advance(29)
        await world.soon(lambda: len(world.ear.said()) >= 24)
        assert list(dict.fromkeys(world.ear.said())) == [f"u-{second}" for second in range(2, 26)]
        assert [note["kind"] for note in world.noted("channel_left")] == ["renew"]
        assert world.noted("gap") == []
        assert world.connected()[0].topics.keys() == {ON_QUEUE} | {
            topic for topic in world.connected()[0].topics if call in topic
        }


async def test_while_the_engine_takes_none_a_renewal_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.io.notifications.line.WAITING", 1)
    async with open_world(token_life=600) as world:
        call = call_id()
        await play(world.org, [*beginning(call), words(call, 2)])
        await world.soon(lambda: len(world.ear.said()) == 1)
        world.ear.closed = True
        for second in range(3, 9):
            await play(world.org, [words(call, second)], ring=0)
        await world.later(lambda: len(world.noted("channel_opened")) == 2, step=10)
        for second in range(9, 13):
            await play(world.org, [words(call, second)], ring=0)
        world.ear.closed = False
        await world.later(lambda: len(world.ear.said()) == 11)
        assert world.ear.said() == [f"u-{second}" for second in range(2, 13)]
        assert [note["kind"] for note in world.noted("channel_left")] == ["renew"]


async def test_lines_are_renewed_one_after_another_for_there_is_room_for_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.channels.Roster.__init__.__defaults__", (7, 3))
    async with open_world(token_life=600, channels=4) as world:
        for number in range(1, 4):
            await play(world.org, beginning(call_id(number)), ring=0)
        await world.soon(lambda: len(world.noted("channel_opened")) == 3)
        await world.later(lambda: len(world.noted("channel_opened")) == 6, step=10)
        await world.clock.settle()
        assert [note["kind"] for note in world.noted("channel_left")] == ["renew"] * 3
        assert (world.noted("gap"), len(world.connected())) == ([], 3)


# A day of heartbeats, each some turns of the loop.
@pytest.mark.slow
async def test_a_channel_is_renewed_after_23_hours(world: World) -> None:
    await world.clock.advance(23 * 3600 - 60)
    assert not world.noted("channel_left")
    await world.clock.advance(90)
    await world.soon(lambda: len(world.noted("channel_opened")) == 2)
    assert [note["kind"] for note in world.noted("channel_left")] == ["renew"]
    assert world.noted("gap") == []


async def test_a_silent_socket_is_asked_and_then_replaced(world: World) -> None:
    world.org.mute = True
    await world.clock.advance(44)
    assert not world.noted("channel_left")
    await world.clock.advance(2)
    assert world.noted("channel_left")[0]["kind"] == "silent"
    world.org.mute = False
    await world.later(lambda: len(world.noted("channel_opened")) == 2)


async def test_a_socket_that_answers_the_ping_is_kept() -> None:
    async with open_world(heartbeat=10_000.0) as world:
        await world.clock.advance(300)
        assert not world.noted("channel_left")


async def test_a_revoked_token_means_a_new_one_and_a_new_channel(world: World) -> None:
    await world.org.revoke()
    await world.later(lambda: len(world.noted("channel_opened")) == 2)
    assert world.noted("channel_left")[0]["kind"] == "revoked"
    assert len(world.connected()) == 1


async def test_topics_taken_by_another_channel_are_not_fought_for(world: World) -> None:
    await world.org.say('{"topicName":"v2.system.no_longer_subscribed.x","eventBody":{"reason":"another_channel"}}')
    await world.soon(lambda: bool(world.noted("channel_taken")))
    calls = len(world.org.requests)
    await world.clock.advance(600)
    assert len(world.org.requests) == calls


async def test_what_an_answer_says_does_not_become_the_name_of_a_counter(world: World) -> None:
    await world.org.say('{"result":"407 proxy"}')
    await world.soon(lambda: bool(world.noted("answer_bad")))
    assert not world.noted("answer_bad")[0].keys() & set(LABELS)


async def test_the_topics_of_a_conversation_go_some_time_after_its_end(world: World) -> None:
    await play(world.org, recording(call_id()))
    await world.soon(lambda: f"{call_id()}:ended" in world.ear.ids())
    await world.clock.advance(600)
    assert len(world.connected()[0].topics) == 7
    await world.clock.advance(400)
    await world.soon(lambda: list(world.connected()[0].topics) == [ON_QUEUE])
    assert not world.noted("answer_bad")


async def test_who_steals_the_channel_does_not_get_a_fight_without_end(world: World) -> None:
    for opened in range(1, 13):
        world.org.drop()
        await world.later(lambda least=opened + 1: len(world.noted("channel_opened")) >= least)  # type: ignore[misc]  # bound now
    assert len(world.org.channels) == 2
    assert world.clock.monotonic() > 0.5 * (1 + 2 + 4 + 8 + 16 + 30 * 6)


async def test_when_one_channel_is_full_the_next_is_opened_and_at_the_cap_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.channels.Roster.__init__.__defaults__", (13, 2))
    async with open_world() as world:
        for number in range(1, 6):
            await play(world.org, beginning(call_id(number)), ring=0)
        await world.soon(lambda: len(world.noted("channel_opened")) == 2 and len(world.noted("topics_full")) == 1)
        await world.soon(lambda: sorted(len(channel.topics) for channel in world.connected()) == [12, 13])
        assert world.noted("topics_full")[0] == {"level": "error", "conversation": call_id(5)}


async def test_a_frame_beyond_the_limit_ends_the_socket_and_no_more(world: World) -> None:
    await world.org.say("x" * (MAX_FRAME + 1))
    await world.later(lambda: len(world.noted("channel_opened")) == 2)
    assert world.noted("channel_left")[0]["kind"] == "dropped"


async def test_a_redirect_does_not_get_the_secret_elsewhere() -> None:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/channels/other")

    asked: list[str] = []
    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    async with open_app(app) as url:
        with pytest.raises(GenesysError, match="refused: 302"):
            await dial(Secret(url.replace("http", "ws") + "/channels/mine"))
    assert asked == ["/channels/mine"]


@pytest.mark.parametrize("uri", ["ws://127.0.0.1:1/channels/s3cret", "ws://[/s3cret", "no://s3cret"])
async def test_a_socket_that_does_not_open_is_told_without_its_address(uri: str) -> None:
    with pytest.raises(GenesysError, match="did not open") as caught:
        await dial(Secret(uri))
    assert "s3cret" not in str(caught.value)


async def test_what_it_may_not_do_from_the_start_ends_it_with_the_reason() -> None:
    clock = FakeClock()
    app = make_genesys(SimGenesys(), clock=clock)
    async with open_app(app) as url:
        org = GenesysSettings(
            api_url=url, login_url=url, client_id="other", client_secret=app[ORG].settings.client_secret
        )
        async with open_genesys(org, clock=clock, random=lambda: 0.5) as genesys:
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.timeout(5):  # for a listener that goes on trying
                    await listen(genesys, Ear(), ["queue:q"], clock=clock, random=lambda: 0.5, on_note=silent)
    assert caught.group_contains(GenesysError, match="check .genesys. client_id")


@pytest.mark.parametrize("follow", [[], ["team:7"], ["queue:"]])
async def test_what_cannot_be_followed_is_said_at_once(follow: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"genesys\.follow"):
        await listen(None, Ear(), follow, clock=FakeClock(), random=lambda: 0.5, on_note=print)  # type: ignore[arg-type]


async def test_no_secret_is_ever_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_world() as world:
        await play(world.org, recording(call_id()))
        world.org.drop()
        await world.soon(lambda: not world.connected())
        world.org.forget_channels()
        await world.later(lambda: len(world.noted("channel_opened")) == 2)
        await world.org.revoke()
        await world.later(lambda: len(world.noted("channel_opened")) == 3)
        sockets = [each for each in gc.get_objects() if type(each) in {Socket, Channel, GenesysClient}]
        assert len(sockets) >= 3
        shown = [repr(each) for each in (*asyncio.all_tasks(), *sockets)]
        secrets = {*world.org.tokens, "sim-secret", *world.org.channels}
    records = [str(vars(record)) for record in caplog.records]
    assert len(secrets) >= 5
    written = "\n".join([caplog.text, *records, *shown, str(world.notes)])
    assert "genesys" in written
    assert not [secret for secret in secrets if secret in written]
