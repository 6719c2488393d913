"""The channel door: events from notification WebSockets, handed to `accept` in order.

The service keeps nothing for a listener that is away, and says nothing of what was missed. So a socket that is to end
(maintenance, a channel near its 24 hours) is replaced before it goes, and after one that broke off every conversation
that goes on is looked up; words spoken meanwhile are lost, and that is said.

What happens is told to `on_note(action, **fields)`, as `ports.Journal.note` takes it:
channel_opened, channel_left (kind: why), channel_failed, channel_taken · topic_rejected, topics_full, tracked ·
frame_bad, frame_refused, frame_waiting, answer_bad · gap, gap_closed, gap_unrecovered, active_unknown.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, Never, Protocol

import orjson
from attrs import define, field
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from bridge.core.channels import (
    REUSES,
    Grant,
    Roster,
    TopicState,
    attend,
    follow_topic,
    followed_ids,
    meaning,
    reconnect_delay,
    snapshot,
)
from bridge.core.genesys import decode
from bridge.errors import ConfigError, GenesysError, PayloadError, RejectedError
from bridge.ports import Accept, Clock
from bridge.settings import Secret

MAX_FRAME = 1_048_576
"""Bytes. A snapshot has some ten thousand; what is longer than this ends the socket."""
WAITING = 512
"""Frames a line holds while the engine takes none; then the socket is no longer read, and the sender has to wait."""
SWEEP = 60.0
"""Seconds between looks for conversations whose topics can go."""
STEADY = 60.0
"""Seconds after which a socket counts as sound, and the next failure as the first."""

Turn = Literal["closing", "renew", "dropped", "silent", "revoked", "gone"]
_IN_TIME: frozenset[Turn] = frozenset({"closing", "renew"})
"""Reasons for a new socket that leave the old one open until the new one is there."""
_SAME_CHANNEL: frozenset[Turn] = frozenset({"closing", "dropped", "silent"})

# The library logs the address, which is a secret, and every frame. This logger has no handlers and no parent.
_MUTE = logging.Logger("websockets, muted", logging.CRITICAL + 1)  # noqa: LOG001 - it must have no parent


class Notifier(Protocol):
    """What the door needs of the API. Every call raises GenesysError."""

    async def create_channel(self) -> Grant:
        """A new channel."""
        ...

    async def channel_exists(self, channel: Secret) -> bool:
        """Whether it is still there."""
        ...

    async def subscribe(self, channel: Secret, topics: Sequence[str]) -> list[TopicState]:
        """Add topics."""
        ...

    async def put_subscriptions(self, channel: Secret, topics: Sequence[str]) -> list[TopicState]:
        """Replace all topics."""
        ...

    async def conversation(self, conversation: str) -> dict[str, Any]:
        """How a conversation stands."""
        ...

    async def active_conversations(self, queues: Sequence[str], users: Sequence[str]) -> list[str]:
        """Conversations of these queues and users that go on."""
        ...

    async def forget_token(self) -> None:
        """Log in again at the next call."""
        ...


async def listen(  # noqa: PLR0913 - the parts of a door, three of them by name
    genesys: Notifier,
    accept: Accept,
    follow: Sequence[str],
    *,
    clock: Clock,
    random: Callable[[], float],
    on_note: Callable[..., None],
) -> Never:
    """Listen until cancelled. Raises ConfigError, and GenesysError when the very first channel is refused for good."""
    await Listener(genesys, accept, follow, clock, random, on_note).run()


@define(eq=False)
class Channel:
    """A channel of ours. `topics`: what was asked for on it, and whether it was permitted."""

    grant: Grant
    made: float
    topics: dict[str, bool] = field(factory=dict)
    sockets: int = 0


@define(eq=False)
class Socket:
    """A connection to a channel. `turn` is set when another one is needed."""

    wire: ClientConnection
    channel: Channel
    opened: float
    heard: float
    turn: asyncio.Future[Turn] = field(factory=lambda: asyncio.get_running_loop().create_future())

    def replace(self, why: Turn) -> None:
        """Say that it must be replaced; the first reason counts."""
        if not self.turn.done():
            self.turn.set_result(why)

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send a control message; whether it arrives shows in what is received."""
        try:
            await self.wire.send(orjson.dumps(message).decode())
        except ConnectionClosed:
            self.replace("dropped")


@define(eq=False)
class Listener:
    """All lines, and the conversations on them."""

    genesys: Notifier
    accept: Accept
    follow: Sequence[str]
    clock: Clock
    random: Callable[[], float]
    note: Callable[..., None]
    roster: Roster = field(init=False, factory=Roster)
    followed: list[str] = field(init=False, factory=list)
    renewing: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    """One line at a time has two channels, for there is room for one more only."""
    _lines: list[Line] = field(init=False, factory=list)
    _group: asyncio.TaskGroup = field(init=False, factory=asyncio.TaskGroup)

    async def run(self) -> Never:
        """Listen until cancelled."""
        self.followed = [follow_topic(wish) for wish in self.follow]
        if not self.followed:
            raise ConfigError(["genesys.follow: should name a queue or a user to listen to"])
        self.roster.follow(self.followed)
        async with self._group:
            self._open_lines()
            while True:
                await self.clock.sleep(SWEEP)
                for line in self.roster.let_go(self.clock.monotonic()):
                    self._lines[line].changed.set()

    def notice(self, envelope: Mapping[str, Any]) -> None:
        """Learn which conversations start and end, and want their topics."""
        sight, conversation = self.roster.see(envelope, self.clock.monotonic())
        if sight == "full":
            self.note("topics_full", level="error", conversation=conversation)
        elif sight == "new":
            self.note("tracked", conversation=conversation)
            self._open_lines()
            self._lines[self.roster.tracked[conversation].line].changed.set()

    def _open_lines(self) -> None:
        while len(self._lines) < len(self.roster.wanted):
            self._lines.append(Line(self, len(self._lines)))
            self._group.create_task(self._lines[-1].run())


@define(eq=False)
class Line:
    """One channel after another with the same topics, and the way of its frames to `accept`."""

    door: Listener
    number: int
    changed: asyncio.Event = field(init=False, factory=asyncio.Event)
    """Other topics are wanted than before."""
    _frames: asyncio.Queue[Mapping[str, Any]] = field(init=False, factory=lambda: asyncio.Queue(WAITING))
    _failures: int = field(init=False, default=0)

    async def run(self) -> Never:
        """Keep a socket open. The next one is read only when the one before has ended: so the order is kept."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_on())
            socket = await self._next(None, "gone")
            reading = group.create_task(self._read(socket, None))
            group.create_task(self._look_up(None))
            while True:
                tending = group.create_task(self._tend(socket))
                turn = await self._attend(socket)
                self.door.note("channel_left", kind=turn, line=self.number)
                following = await self._next(socket, turn)
                tending.cancel()
                if turn not in _IN_TIME or reading.done():
                    group.create_task(self._look_up(self._now() - socket.heard))
                reading = group.create_task(self._read(following, reading))
                await socket.wire.close()
                socket = following

    def _now(self) -> float:
        return self.door.clock.monotonic()

    # --- sockets ---

    async def _next(self, old: Socket | None, turn: Turn) -> Socket:
        """The socket after the old one: at once when there is time, else after a delay that grows."""
        channel = old.channel if old is not None and turn in _SAME_CHANNEL else None
        if old is not None and self._now() - old.opened >= STEADY:
            self._failures = 0
        if turn == "revoked":
            await self.door.genesys.forget_token()
        for attempt in itertools.count():
            try:
                if attempt or (old is not None and turn not in _IN_TIME):
                    await self.door.clock.sleep(reconnect_delay(self._failures, self.door.random()))
                    self._failures += 1
                return await self._open(channel if attempt < 3 else None, turn)
            except GenesysError as error:
                self.door.note("channel_failed", level="warning", line=self.number, why=error.detail)
                if old is None and not error.retryable and self.number == 0:
                    raise
        raise AssertionError  # count() has no end

    async def _open(self, channel: Channel | None, turn: Turn) -> Socket:
        if channel is not None and await self._usable(channel):
            return await self._dial(channel)
        if turn != "renew":
            return await self._dial(await self._make_channel())
        async with self.door.renewing:
            return await self._dial(await self._make_channel())

    async def _usable(self, channel: Channel) -> bool:
        return channel.sockets < REUSES and await self.door.genesys.channel_exists(channel.grant.id)

    async def _make_channel(self) -> Channel:
        return Channel(await self.door.genesys.create_channel(), self._now())

    async def _dial(self, channel: Channel) -> Socket:
        """Connect, and only then subscribe, so that nothing falls between."""
        wire = await dial(channel.grant.uri)
        channel.sockets += 1
        socket = Socket(wire, channel, self._now(), self._now())
        try:
            await self._sync(socket)
        except BaseException:  # cancelled as well: nobody else knows this connection
            await wire.close()
            raise
        self.door.note("channel_opened", line=self.number, topics=len(channel.topics))
        return socket

    async def _attend(self, socket: Socket) -> Turn:
        """Watch over a socket until it must be replaced; why."""
        while not socket.turn.done():
            # While the engine takes nothing we do not read, so silence says nothing of the other side.
            quiet = 0.0 if self._frames.full() else self._now() - socket.heard
            duty, wait = attend(quiet, self._now() - socket.channel.made, socket.channel.grant.life)
            if duty == "renew":
                return "renew"
            if duty == "dead":
                return "silent"
            if duty == "ping":
                await socket.say({"message": "ping"})
            await _first(socket.turn, self.door.clock.sleep(wait))
        return socket.turn.result()

    # --- topics ---

    async def _tend(self, socket: Socket) -> None:
        """Keep the channel's topics as they are wanted; those that come together are asked for together."""
        failures = 0
        while True:
            self.changed.clear()
            try:
                await self._sync(socket)
            except GenesysError as error:
                if error.status == 404:
                    return socket.replace("gone")
                self.door.note("channel_failed", level="warning", line=self.number, why=error.detail)
                failures += 1
                await self.door.clock.sleep(reconnect_delay(failures, self.door.random()))
            else:
                failures = 0
                await self.changed.wait()

    async def _sync(self, socket: Socket) -> None:
        """Ask for what is wanted and not yet asked for; give back what is not wanted any more.

        A single topic can be given back on the socket only: REST can replace the whole list, or empty it.
        """
        channel, wanted = socket.channel, self.door.roster.wanted[self.number]
        missing = [topic for topic in wanted if topic not in channel.topics]
        if missing:
            self._settle(channel, missing, await self._ask(channel, missing))
        surplus = [topic for topic in channel.topics if topic not in wanted]
        if surplus:
            permitted = [topic for topic in surplus if channel.topics.pop(topic)]
            await socket.say({"message": "unsubscribe", "topics": permitted})

    async def _ask(self, channel: Channel, missing: list[str]) -> list[TopicState]:
        if not channel.topics:
            return await self.door.genesys.put_subscriptions(channel.grant.id, missing)
        try:
            return await self.door.genesys.subscribe(channel.grant.id, missing)
        except GenesysError as error:
            if error.status != 400:
                raise
        # More topics are on the channel than we know of: start again with what is wanted.
        wanted = list(self.door.roster.wanted[self.number])
        channel.topics.clear()
        missing[:] = wanted
        return await self.door.genesys.put_subscriptions(channel.grant.id, wanted)

    def _settle(self, channel: Channel, asked: list[str], states: list[TopicState]) -> None:
        told = {state.topic: state for state in states}
        for topic in asked:
            state = told.get(topic, TopicState(topic, permitted=False, reason="the answer does not name it"))
            channel.topics[topic] = state.permitted
            if not state.permitted:
                missing = ", ".join(state.missing)
                self.door.note("topic_rejected", level="error", topic=topic, why=state.reason, permissions=missing)

    # --- frames ---

    async def _read(self, socket: Socket, before: asyncio.Task[None] | None) -> None:
        """Take frames until the connection ends, which is no error; the reader before comes first."""
        try:
            if before is not None:
                await asyncio.wait({before})
            while True:
                socket.heard = self._now()
                await self._take(socket, await socket.wire.recv(decode=False))
        except ConnectionClosed:
            socket.replace("dropped")
        finally:
            await socket.wire.close()

    async def _take(self, socket: Socket, raw: bytes) -> None:
        try:
            envelope = decode(raw)
        except PayloadError as error:
            self.door.note("frame_bad", level="warning", code=error.code, size_bytes=len(raw))
            return
        means = meaning(envelope)
        if means == "event":
            self.door.notice(envelope)
            await self._frames.put(envelope)
        elif means in {"closing", "revoked"}:
            socket.replace("closing" if means == "closing" else "revoked")
        elif means == "taken":
            # Asking again would take the topics from the other, who would take them back.
            self.door.note("channel_taken", level="error", line=self.number)
        elif means == "answer" and envelope.get("result") != "200":
            self.door.note("answer_bad", level="warning", code=str(envelope.get("result"))[:20])

    async def _hand_on(self) -> Never:
        while True:
            await self._offer(await self._frames.get())

    async def _offer(self, envelope: Mapping[str, Any]) -> None:
        """Until the engine has it, or it is refused for what it is."""
        for failures in itertools.count():
            try:
                await self.door.accept(envelope)
            except RejectedError as error:
                if error.status != 503:
                    self.door.note("frame_refused", level="warning", code=error.code, why=error.detail)
                    return
                self.door.note("frame_waiting", level="warning", code=error.code, behind=self._frames.qsize())
                wait = max(error.retry_after or 0, reconnect_delay(failures, self.door.random()))
                await self.door.clock.sleep(wait)
            else:
                return

    # --- gaps ---

    async def _look_up(self, gap: float | None) -> None:
        """See how conversations stand after nobody listened for `gap` seconds; None: nobody ever did.

        Words that were spoken meanwhile cannot be had here: each conversation that may lack some is told.
        """
        going_on = [each.conversation for each in self.door.roster.on_line(self.number)] if gap is not None else []
        for conversation in going_on:
            self.door.note("gap", level="warning", conversation=conversation, gap_ms=round((gap or 0) * 1000))
        for conversation in dict.fromkeys([*going_on, *await self._active()]):
            try:
                body = await self.door.genesys.conversation(conversation)
            except GenesysError as error:
                self._give_up(conversation, error)
            else:
                envelope = snapshot(body, self.door.followed)
                self.door.notice(envelope)
                await self._frames.put(envelope)
                self.door.note("gap_closed", conversation=conversation)

    async def _active(self) -> list[str]:
        """Conversations that go on, on the queues and users followed on this line; some may be new to us."""
        queues, users = followed_ids(self.door.roster.wanted[self.number])
        try:
            return await self.door.genesys.active_conversations(queues, users) if queues or users else []
        except GenesysError as error:
            self.door.note("active_unknown", level="warning", line=self.number, why=error.detail)
            return []

    def _give_up(self, conversation: str, error: GenesysError) -> None:
        self.door.note("gap_unrecovered", level="error", conversation=conversation, why=error.detail)
        if error.status == 404:
            self.door.roster.forget(conversation)
            self.changed.set()


# --- the wire -----------------------------------------------------------------------------------------------------


class _Connect(connect):
    """Follows no redirect: the address is a secret of its server's."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(uri: Secret) -> ClientConnection:
    """Connect to a channel. Raises GenesysError, which never names the address."""
    try:
        return await _Connect(
            uri.show(),
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,  # the service's own heartbeat tells more, on our clock
            open_timeout=10,
            close_timeout=5,
            proxy=None,
            logger=_MUTE,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise GenesysError(f"the notification socket was refused: {status}", status=status) from None
    except (OSError, TimeoutError, WebSocketException) as error:
        raise GenesysError(f"the notification socket did not open: {type(error).__name__}") from None


async def _first(turn: asyncio.Future[Turn], nap: Coroutine[Any, Any, None]) -> None:
    sleeping = asyncio.create_task(nap)
    either: set[asyncio.Future[Any]] = {turn, sleeping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
