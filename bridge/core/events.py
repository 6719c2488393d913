"""What happened in a contact centre, as frozen classes.

An event's `id` is a business key: the same fact, told through two doors or twice, has the same id and is stored once.
Times are milliseconds since 1970 UTC. A field that Genesys omitted is "" or None here, never a guess; `at_ms` is 0 when
no time was told at all.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

Speaker = Literal["customer", "agent", "unknown"]


@frozen(kw_only=True)
class Event:
    """A fact about one conversation."""

    id: str
    conversation: str
    at_ms: int


@frozen(kw_only=True)
class Utterance(Event):
    """One finished (or, with `final` false, still growing) piece of speech.

    `start_ms` and `end_ms` are absolute: the communication's own clock (sessionStartTimeMs) plus the offset.
    """

    communication: str
    utterance: str
    speaker: Speaker
    text: str
    start_ms: int
    end_ms: int
    final: bool = True
    confidence: float | None = None
    dialect: str = ""


@frozen(kw_only=True)
class TranscriptionStatus(Event):
    """A transcription message without words: SESSION_ONGOING at the start and every five minutes, SESSION_ENDED."""

    communication: str
    status: str


@frozen(kw_only=True)
class ConversationStarted(Event):
    """The customer is there."""

    participant: str = ""
    media: str = ""
    direction: str = ""
    contact: str = ""


@frozen(kw_only=True)
class AgentJoined(Event):
    """An agent's leg began; it may still be ringing."""

    participant: str
    agent: str = ""
    queue: str = ""


@frozen(kw_only=True)
class AgentLeft(Event):
    """An agent's leg ended: also on reject, requeue and transfer, so it is not the end of the conversation."""

    participant: str
    agent: str = ""
    queue: str = ""
    reason: str = ""


@frozen(kw_only=True)
class CustomerLeft(Event):
    """One customer left; others may still be there."""

    participant: str
    reason: str = ""


@frozen(kw_only=True)
class ConversationEnded(Event):
    """Every customer has left. Its id is `{conversation}:ended`, so it happens once."""


@frozen(kw_only=True)
class WrapUp(Event):
    """The agent's after-call work."""

    participant: str
    agent: str = ""
    queue: str = ""
    code: str = ""
    notes: str = ""
    duration_ms: int | None = None


@frozen(kw_only=True)
class MessageReceived(Event):
    """A digital message; its text is not in the event and must be fetched by `message`."""

    message: str
    participant: str
    speaker: Speaker
    media: str = ""
    status: str = ""


@frozen(kw_only=True)
class SuggestionRequested(Event):
    """Genesys asks for (state Triggered), or tells the fate of, a third-party suggestion."""

    suggestion: str
    state: str
    trigger: str = ""
    question: str = ""
    language: str = ""
    agent: str = ""
    queue: str = ""
    utterance: str = ""
    engagement: str = ""
    rating: str = ""


@frozen(kw_only=True)
class SummaryReady(Event):
    """Genesys' own summary; `error` is set, and `text` empty, when it could not be made."""

    summary: str
    text: str = ""
    language: str = ""
    agent: str = ""
    queue: str = ""
    error: str = ""


@frozen(kw_only=True)
class Participant:
    """One participant of a snapshot."""

    id: str
    purpose: str
    user: str = ""
    queue: str = ""
    contact: str = ""
    connected: bool = False
    ended: bool = False
    communications: tuple[str, ...] = ()


@frozen(kw_only=True)
class QueueConversation(Event):
    """The whole current state of a conversation, as queue and user topics tell it."""

    participants: tuple[Participant, ...] = ()
    external_tag: str = ""


@frozen(kw_only=True)
class Unknown(Event):
    """A topic that the bridge has no class for. Kept, never refused."""

    topic: str
    body: dict[str, Any] = field(factory=dict)
