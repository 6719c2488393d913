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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never, Protocol

from attrs import define, field

from bridge.core.channels import Grant, Roster, TopicState, follow_topic
from bridge.errors import ConfigError
from bridge.io.notifications.line import Line
from bridge.ports import Accept, Clock
from bridge.settings import Secret

__all__ = ["Listener", "Notifier", "listen"]

SWEEP = 60.0
"""Seconds between looks for conversations whose topics can go."""


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
    """One line at a time is on two channels: there is room for one more, and a left one is the first to go."""
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
