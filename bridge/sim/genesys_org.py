"""The simulated org: its tokens, channels, conversations and faults, without any HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import WSMsgType, web
from attrs import define, field, frozen

from bridge.ports import Clock
from bridge.settings import Secret
from bridge.sim.genesys_calls import Call, iso
from bridge.sim.genesys_topics import expand, refusal


@frozen(kw_only=True)
class SimGenesys:
    """What kind of org is simulated. Lives in seconds; `calls_per_minute` 0: no rate limit.

    `lacking`: permissions that the OAuth client has not; `transcript_after`: how long after a conversation's end its
    transcript can be had.
    """

    client_id: str = "sim-client"
    client_secret: Secret = field(factory=lambda: Secret("sim-secret", "simulator"))
    queue: str = "11111111-2222-4333-8444-555555555555"
    token_life: float = 86_400.0
    channel_life: float = 86_400.0
    channels: int = 20
    topics: int = 1_000
    heartbeat: float = 30.0
    calls_per_minute: int = 0
    lacking: frozenset[str] = frozenset()
    transcript_after: float = 60.0


@define(eq=False)
class Channel:
    """A notification channel, and the one socket that may be on it."""

    id: str
    token: str
    expires: float
    topics: dict[str, None] = field(factory=dict)
    socket: web.WebSocketResponse | None = None
    abort: Callable[[], None] = lambda: None

    def hears(self, topic: str) -> bool:
        """Whether the topic is one of those subscribed to, or part of a combined one."""
        return topic in self.topics or any(topic in expand(each) for each in self.topics if "?" in each)


@define(eq=False)
class Org:
    """Everything that the simulated Genesys Cloud knows. The attributes after `lost` are faults to set at any time."""

    settings: SimGenesys
    clock: Clock
    tokens: dict[str, float] = field(init=False, factory=dict)
    channels: dict[str, Channel] = field(init=False, factory=dict)
    calls: dict[str, Call] = field(init=False, factory=dict)
    ended: dict[str, float] = field(init=False, factory=dict)
    messages: dict[tuple[str, str], str] = field(init=False, factory=dict)
    requests: list[tuple[str, str]] = field(init=False, factory=list)
    """(method, path) of every API and login call so far."""
    lost: int = field(init=False, default=0)
    """Notifications that were subscribed to, but had no socket to go out on."""
    answers: deque[int] = field(init=False, factory=deque)
    """Statuses for the next API or login calls, instead of the real answer; 0: the connection is cut."""
    retry_after: str = field(init=False, default="1")
    mute: bool = field(init=False, default=False)
    """Sockets stay open, but say nothing any more: no event, no heartbeat, no pong."""
    _serial: int = field(init=False, default=0)
    _changed: asyncio.Event = field(init=False, factory=asyncio.Event)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for a fact about channels, sockets, topics or requests."""
        while not fact():
            await self._changed.wait()

    def touch(self) -> None:
        """Tell those who wait that something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def make_token(self) -> str:
        """A new access token."""
        token = self._fresh("token")
        self.tokens[token] = self.clock.monotonic() + self.settings.token_life
        return token

    def knows(self, token: str) -> bool:
        """Whether the token is one of ours and has not ended."""
        return self.tokens.get(token, 0.0) > self.clock.monotonic()

    def make_channel(self, token: str) -> Channel:
        """A new channel. When there are too many, the oldest goes, those without a socket first."""
        if len(self.live_channels()) >= self.settings.channels:
            oldest = min(self.live_channels(), key=lambda channel: channel.socket is not None)
            oldest.expires = 0.0
            oldest.abort()
        made = Channel(
            f"streaming-0-{self._fresh('channel')}", token, self.clock.monotonic() + self.settings.channel_life
        )
        self.channels[made.id] = made
        self.touch()
        return made

    def live_channels(self) -> list[Channel]:
        """Channels that have not ended, oldest first. A channel ends with the token that made it."""
        now = self.clock.monotonic()
        return [each for each in self.channels.values() if each.expires > now and self.knows(each.token)]

    def channel(self, channel_id: str) -> Channel | None:
        """The channel of that id, while it lives."""
        return next((each for each in self.live_channels() if each.id == channel_id), None)

    def subscribe(self, channel: Channel, topics: list[str]) -> list[dict[str, Any]]:
        """Add what may be added; say of each topic what became of it. Makes the channel live longer."""
        channel.expires = self.clock.monotonic() + self.settings.channel_life
        entities = [self._entity(topic) for topic in topics]
        channel.topics |= {each["id"]: None for each in entities if each["state"] == "Permitted"}
        self.touch()
        return entities

    async def publish(self, envelope: Mapping[str, Any]) -> None:
        """Send a notification to every channel that has its topic. Nothing is kept for those without a socket."""
        frame = orjson.dumps(envelope).decode()
        for channel in self.live_channels():
            if channel.hears(envelope["topicName"]):
                await self._send(channel, frame)

    async def say(self, frame: str | bytes) -> None:
        """Send any frame on every socket."""
        for channel in self.live_channels():
            await self._send(channel, frame)

    async def announce_closing(self) -> None:
        """Ask for new sockets, as before maintenance."""
        await self.say(
            orjson.dumps({"topicName": "v2.system.socket_closing", "version": "2", "eventBody": {}}).decode()
        )

    async def revoke(self) -> None:
        """Take all tokens back, and with them the channels; tell the sockets."""
        for channel in self.live_channels():
            notice = {
                "topicName": f"v2.system.token_revoked.{channel.id}",
                "eventBody": {"reason": "user_tokens_revoked"},
            }
            await self._send(channel, orjson.dumps(notice).decode())
        self.tokens.clear()

    def drop(self) -> None:
        """Cut every socket without a word."""
        for channel in self.channels.values():
            channel.abort()

    def forget_channels(self) -> None:
        """End all channels; their sockets stay, silent."""
        for channel in self.channels.values():
            channel.expires = 0.0

    def call(self, conversation: str, queue: str = "") -> Call:
        """The conversation, made when it is not there."""
        return self.calls.setdefault(conversation, Call(conversation, queue or self.settings.queue))

    async def publish_snapshot(self, call: Call) -> None:
        """Tell the topics of the conversation's queue and agents how it stands."""
        if call.ended:
            self.ended.setdefault(call.id, self.clock.monotonic())
        trace = hashlib.sha256(call.id.encode()).hexdigest()[:32]
        for topic in [f"v2.routing.queues.{call.queue}", *(f"v2.users.{user}" for user in call.users)]:
            rest = {"version": "2", "eventBody": call.body(), "metadata": {"CorrelationId": trace}}
            await self.publish({"topicName": f"{topic}.conversations", **rest})

    def describe(self, channel: Channel, origin: str) -> dict[str, str]:
        """A channel as the API tells it. `origin` is the address of this server, with the scheme ws or wss."""
        left = (channel.expires - self.clock.monotonic()) * 1000
        return {
            "id": channel.id,
            "connectUri": f"{origin}/channels/{channel.id}",
            "expires": iso(self.clock.now_ms() + int(left)),
        }

    def _entity(self, topic: str) -> dict[str, Any]:
        entity = {"id": topic, "state": "Permitted", "selfUri": f"/api/v2/notifications/availabletopics/{topic}"}
        if refused := refusal(topic, self.settings.lacking):
            return entity | {"state": "Rejected", "rejectionReason": refused[0], "missingPermissions": refused[1]}
        return entity

    async def _send(self, channel: Channel, frame: str | bytes) -> None:
        socket = channel.socket
        if socket is None or socket.closed or self.mute:
            self.lost += 1
            return
        try:
            # Bytes go out as a text frame too: that is how a broken one would look.
            await socket.send_frame(frame.encode() if isinstance(frame, str) else frame, WSMsgType.TEXT)
        except ConnectionError:
            self.lost += 1

    def _fresh(self, kind: str) -> str:
        self._serial += 1
        return hashlib.sha256(f"{kind} {self._serial}".encode()).hexdigest()[:40]
