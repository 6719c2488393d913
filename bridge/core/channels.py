"""The rules of Genesys Cloud's notification channels: topics, capacity, what a frame means, and when to do what.

A **line** is one channel with the topics wanted on it; it lives on when its channel is replaced. All topics of one
conversation sit on one line, so that their order is kept. Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from attrs import define, field, frozen

from bridge.core.events import ConversationEnded, ConversationStarted, CustomerLeft
from bridge.core.genesys import is_control, parse
from bridge.errors import ConfigError, PayloadError
from bridge.settings import Secret

TOPICS = 1_000
"""On one channel; the service answers 400 beyond."""
LINES = 19
"""Of the 20 channels of a user and app one stays free, for the channel that replaces another: a 21st would end the
oldest."""
RENEW_AFTER = 23 * 3600.0
"""A channel lives 24 hours."""
REUSES = 10
"""Sockets on one channel before a new channel is made, so that two who hold the same one do not fight for ever."""
SILENCE = 35.0
"""A heartbeat comes about every 30 s; after this long without a frame we ask."""
PATIENCE = 10.0
"""For the answer to a ping."""
LINGER = 900.0
"""After a conversation's end its topics are kept for the last words and the after-call work."""

_TOKEN_MARGIN = 120.0
_DETAILS = ("customer.end", "user.start", "user.end", "acw", "wrapup")
_FOLLOWED = {"queue": "v2.routing.queues.{}.conversations", "user": "v2.users.{}.conversations"}
_BODIES = ("queueId", "userId")

Meaning = Literal["event", "heartbeat", "answer", "closing", "revoked", "taken"]
Duty = Literal["wait", "ping", "dead", "renew"]
Sight = Literal["", "new", "full", "ended"]
_SYSTEM: Mapping[str, Meaning] = {
    "socket_closing": "closing",
    "token_revoked": "revoked",
    "no_longer_subscribed": "taken",
}


@frozen
class Grant:
    """A channel as the service gave it: `id` and `uri` let anyone listen. `life` in seconds."""

    id: Secret
    uri: Secret
    life: float


@frozen
class TopicState:
    """What became of the wish for a topic."""

    topic: str
    permitted: bool
    reason: str = ""
    missing: tuple[str, ...] = ()


# --- topics -------------------------------------------------------------------------------------------------------


def follow_topic(wish: str) -> str:
    """The topic of `queue:ID` or `user:ID`. Raises ConfigError."""
    kind, _, name = wish.partition(":")
    if kind not in _FOLLOWED or not name:
        raise ConfigError([f"genesys.follow: {wish!r} should be queue:ID or user:ID"])
    return _FOLLOWED[kind].format(name)


def followed_ids(topics: Iterable[str]) -> tuple[list[str], list[str]]:
    """The queues and the users among followed topics."""
    known = [topic.split(".") for topic in topics if topic.endswith(".conversations")]
    return [parts[-2] for parts in known if parts[1] == "routing"], [
        parts[-2] for parts in known if parts[1] == "users"
    ]


def topics_of(conversation: str) -> tuple[str, ...]:
    """What a tracked conversation costs: its words, and who comes and goes.

    Not customer.start, which is over before anyone can ask for it: the snapshot has the same fact.
    """
    details = (f"v2.detail.events.conversation.{conversation}.{detail}" for detail in _DETAILS)
    return (f"v2.conversations.{conversation}.transcription", *details)


def snapshot(body: Mapping[str, Any], followed: Iterable[str]) -> dict[str, Any]:
    """An envelope for a conversation that was looked up, under the followed topic that would have told of it."""
    participants = body.get("participants")
    present = [who for who in participants if isinstance(who, Mapping)] if isinstance(participants, list) else []
    names = {str(who.get(name)) for who in present for name in _BODIES if who.get(name)}
    known = list(followed)
    topic = next((topic for topic in known if topic.split(".")[-2] in names), known[0])
    return {"topicName": topic, "version": "2", "eventBody": dict(body), "metadata": {}}


# --- frames and times ---------------------------------------------------------------------------------------------


def meaning(envelope: Mapping[str, Any]) -> Meaning:
    """What a frame asks of the door. The bodies of system frames are not documented, so only their topic counts."""
    topic = envelope.get("topicName")
    if is_control(envelope):
        return "heartbeat" if topic else "answer"
    parts = str(topic).split(".")
    return _SYSTEM.get(parts[2], "event") if parts[:2] == ["v2", "system"] and len(parts) > 2 else "event"


def renew_after(token_life: float) -> float:
    """Seconds after which a channel is replaced: it ends after a day, or with the token that made it."""
    return max(60.0, min(RENEW_AFTER, token_life - _TOKEN_MARGIN))


def attend(quiet: float, age: float, life: float) -> tuple[Duty, float]:
    """What a socket needs that was last heard `quiet` seconds ago on a channel of this age, and when to look again."""
    if age >= life:
        return "renew", 0.0
    if quiet >= SILENCE + PATIENCE:
        return "dead", 0.0
    if quiet >= SILENCE:
        return "ping", min(SILENCE + PATIENCE - quiet, life - age)
    return "wait", min(SILENCE - quiet, life - age)


def reconnect_delay(failures: int, random: float) -> float:
    """Seconds before the next connection: full jitter over 1, 2, 4, … at most 30. `random` in [0, 1)."""
    return random * min(30.0, 2.0 ** min(failures, 5))


# --- conversations ------------------------------------------------------------------------------------------------


@define
class Tracked:
    """A conversation whose topics are on `line`. `ended_at` None: it goes on."""

    conversation: str
    line: int
    present: set[str]
    ended_at: float | None = None


@define
class Roster:
    """Which topics are wanted on which line, and for which conversations."""

    topics: int = TOPICS
    most: int = LINES
    wanted: list[dict[str, None]] = field(init=False, factory=list)
    tracked: dict[str, Tracked] = field(init=False, factory=dict)
    _turned_away: set[str] = field(init=False, factory=set)

    def follow(self, topics: Iterable[str]) -> None:
        """Put the followed topics on lines. ConfigError when there are too many."""
        for topic in topics:
            if self._seat((topic,)) is None:
                raise ConfigError([f"genesys.follow: more than {self.topics * self.most} topics"])

    def see(self, envelope: Mapping[str, Any], now: float) -> tuple[Sight, str]:
        """Learn from a frame what starts and ends: what is new, and of which conversation.

        `full`: it goes on, but no line has room for it; said once, though its next snapshot may find some.
        """
        if not str(envelope.get("topicName")).endswith((".conversations", ".customer.end")):
            return "", ""
        try:
            events = parse(envelope)
        except PayloadError:
            return "", ""
        present = {event.participant for event in events if isinstance(event, ConversationStarted)}
        left = {event.participant for event in events if isinstance(event, CustomerLeft)}
        over = any(isinstance(event, ConversationEnded) for event in events)
        conversation = events[0].conversation if events else ""
        tracked = self.tracked.get(conversation)
        if tracked is None:
            return self._start(conversation, present) if present and not over else self._pass(conversation)
        tracked.present = (tracked.present | present) - left
        if tracked.ended_at is not None or not (over or left) or (tracked.present and not over):
            return "", ""
        tracked.ended_at = now
        return "ended", conversation

    def let_go(self, now: float) -> set[int]:
        """Forget conversations that ended LINGER seconds ago; the lines whose wishes have changed."""
        done = [each for each in self.tracked.values() if each.ended_at is not None and now - each.ended_at >= LINGER]
        for each in done:
            self.forget(each.conversation)
        return {each.line for each in done}

    def forget(self, conversation: str) -> None:
        """Give its topics free."""
        tracked = self.tracked.pop(conversation, None)
        if tracked is not None:
            for topic in topics_of(conversation):
                self.wanted[tracked.line].pop(topic, None)

    def on_line(self, line: int) -> Iterator[Tracked]:
        """The conversations on a line that go on."""
        return (each for each in self.tracked.values() if each.line == line and each.ended_at is None)

    def _start(self, conversation: str, present: set[str]) -> tuple[Sight, str]:
        line = self._seat(topics_of(conversation))
        if line is None:
            known = conversation in self._turned_away
            self._turned_away.add(conversation)
            return ("", "") if known else ("full", conversation)
        self._turned_away.discard(conversation)
        self.tracked[conversation] = Tracked(conversation, line, present)
        return "new", conversation

    def _pass(self, conversation: str) -> tuple[Sight, str]:
        self._turned_away.discard(conversation)
        return "", ""

    def _seat(self, topics: tuple[str, ...]) -> int | None:
        """The line that has room, a new one where none has; None: all are full."""
        room = (line for line, wanted in enumerate(self.wanted) if len(wanted) + len(topics) <= self.topics)
        line = next(room, len(self.wanted))
        if line == self.most:
            return None
        if line == len(self.wanted):
            self.wanted.append({})
        self.wanted[line] |= dict.fromkeys(topics)
        return line
