"""One line of the channel door: a socket after another, on one channel after another, and the way of their frames."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Never

from attrs import define, field
from websockets.exceptions import ConnectionClosed

from bridge.core.channels import REUSES, TopicState, attend, followed_ids, meaning, reconnect_delay, snapshot
from bridge.core.genesys import decode
from bridge.errors import GenesysError, PayloadError, RejectedError
from bridge.io.notifications.wire import Channel, Socket, Turn, dial

if TYPE_CHECKING:
    from bridge.io.notifications import Listener

WAITING = 512
"""Frames a line holds while the engine takes none; then the socket is no longer read, and the sender has to wait."""
AT_ONCE = 100
"""Topics in one control message: some kilobytes, as the service may not take long ones."""
STEADY = 60.0
"""Seconds after which a socket counts as sound, and the next failure as the first."""

_IN_TIME: frozenset[Turn] = frozenset({"closing", "renew"})
"""Reasons for a new socket that leave the old one open until the new one is there."""
_FOR_GOOD = frozenset({400, 401, 403})
"""Answers that mean wrong settings, when they come to the very first channel."""
_SAME_CHANNEL: frozenset[Turn] = frozenset({"closing", "dropped", "silent"})


@define(eq=False)
class Line:
    """One channel after another with the same topics, and the way of its frames to `accept`."""

    door: Listener
    number: int
    changed: asyncio.Event = field(init=False, factory=asyncio.Event)
    """Other topics are wanted than before."""
    _frames: asyncio.Queue[Mapping[str, Any]] = field(init=False, factory=lambda: asyncio.Queue(WAITING))
    _missed: asyncio.Event = field(init=False, factory=asyncio.Event)
    """Something may have happened unheard."""
    _failures: int = field(init=False, default=0)

    async def run(self) -> Never:
        """Keep a socket open. The next one is read only when the one before has ended: so the order is kept."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_on())
            self._missed.set()  # whatever began before we were there
            socket = await self._next(None, "gone")
            reading = group.create_task(self._read(socket, None))
            group.create_task(self._catch_up())
            while True:
                tending = group.create_task(self._tend(socket))
                turn = await self._attend(socket)
                self.door.note("channel_left", kind=turn, line=self.number)
                async with self.door.renewing if turn == "renew" else nullcontext():
                    following = await self._next(socket, turn)
                    tending.cancel()
                    if turn not in _IN_TIME or reading.done():
                        self._tell_gap(self._now() - socket.heard)
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
        for attempt in itertools.count():
            try:
                if attempt or (old is not None and turn not in _IN_TIME):
                    await self.door.clock.sleep(reconnect_delay(self._failures, self.door.random()))
                    self._failures += 1
                return await self._open(channel if attempt < 3 else None)
            except GenesysError as error:
                self.door.note("channel_failed", level="warning", line=self.number, why=error.detail)
                if old is None and self.number == 0 and error.status in _FOR_GOOD:
                    raise
        raise AssertionError  # count() has no end

    async def _open(self, channel: Channel | None) -> Socket:
        if channel is None or not await self._usable(channel):
            channel = Channel(await self.door.genesys.create_channel(), self._now())
        return await self._dial(channel)

    async def _usable(self, channel: Channel) -> bool:
        return channel.sockets < REUSES and await self.door.genesys.channel_exists(channel.grant.id)

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
        given_back = [topic for topic in surplus if channel.topics.pop(topic)]
        for start in range(0, len(given_back), AT_ONCE):
            await socket.say({"message": "unsubscribe", "topics": given_back[start : start + AT_ONCE]})

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
            self.door.note("answer_bad", level="warning", result=str(envelope.get("result"))[:20])

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

    def _tell_gap(self, seconds: float) -> None:
        """Words that were spoken meanwhile cannot be had here: each conversation that may lack some is told."""
        for each in self.door.roster.on_line(self.number):
            self.door.note("gap", level="warning", conversation=each.conversation, gap_ms=round(seconds * 1000))
        self._missed.set()

    async def _catch_up(self) -> Never:
        """Whenever something was missed, see how all conversations stand; one look at a time, however many gaps."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            going_on = [each.conversation for each in self.door.roster.on_line(self.number)]
            for conversation in dict.fromkeys([*going_on, *await self._active()]):
                await self._look_up(conversation)

    async def _look_up(self, conversation: str) -> None:
        try:
            body = await self.door.genesys.conversation(conversation)
        except GenesysError as error:
            self._give_up(conversation, error)
            return
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


async def _first(turn: asyncio.Future[Turn], nap: Coroutine[Any, Any, None]) -> None:
    sleeping = asyncio.create_task(nap)
    either: set[asyncio.Future[Any]] = {turn, sleeping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
