"""Topics that tell one fact each: v2.detail.events.conversation.*, suggestions, summaries, Open Messaging."""

from __future__ import annotations

from bridge.core.events import (
    AgentJoined,
    AgentLeft,
    ConversationStarted,
    CustomerLeft,
    Event,
    MessageReceived,
    SuggestionRequested,
    SummaryReady,
    Unknown,
    WrapUp,
)
from bridge.core.genesys import keys
from bridge.core.genesys.envelope import BODY, Envelope, known_conversation
from bridge.core.genesys.fields import Fields, child, children, key, moment, span, text
from bridge.core.genesys.transcription import dialect


def read_customer_start(heard: Envelope) -> tuple[Event, ...]:
    """A customer came: customer.start."""
    conversation, participant = heard.conversation, key(heard.body, "participantId", BODY)
    return (
        ConversationStarted(
            id=keys.customer(conversation, participant, "started"),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            participant=participant,
            media=text(heard.body, "mediaType", BODY).lower(),
            direction=text(heard.body, "direction", BODY).lower(),
            contact=text(heard.body, "externalContactId", BODY),
        ),
    )


def read_customer_end(heard: Envelope) -> tuple[Event, ...]:
    """A customer left: customer.end."""
    conversation, participant = heard.conversation, key(heard.body, "participantId", BODY)
    return (
        CustomerLeft(
            id=keys.customer(conversation, participant, "left"),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            participant=participant,
            reason=text(heard.body, "disconnectType", BODY).lower(),
        ),
    )


def read_user_start(heard: Envelope) -> tuple[Event, ...]:
    """An agent's leg began: user.start."""
    conversation, participant = heard.conversation, key(heard.body, "participantId", BODY)
    return (
        AgentJoined(
            id=keys.agent(conversation, participant, "joined"),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            participant=participant,
            agent=text(heard.body, "userId", BODY),
            queue=text(heard.body, "queueId", BODY),
        ),
    )


def read_user_end(heard: Envelope) -> tuple[Event, ...]:
    """An agent's leg ended, also by reject, requeue and transfer: user.end."""
    conversation, participant = heard.conversation, key(heard.body, "participantId", BODY)
    return (
        AgentLeft(
            id=keys.agent(conversation, participant, "left"),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            participant=participant,
            agent=text(heard.body, "userId", BODY),
            queue=text(heard.body, "queueId", BODY),
            reason=text(heard.body, "disconnectType", BODY).lower(),
        ),
    )


def read_wrapup(heard: Envelope) -> tuple[Event, ...]:
    """After-call work: acw and wrapup, which tell the same."""
    conversation, participant = heard.conversation, key(heard.body, "participantId", BODY)
    code, notes = text(heard.body, "wrapupCode", BODY), text(heard.body, "wrapupNotes", BODY)
    return (
        WrapUp(
            id=keys.wrapup(conversation, participant, code, notes),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            participant=participant,
            agent=text(heard.body, "userId", BODY),
            queue=text(heard.body, "queueId", BODY),
            code=code,
            notes=notes,
            duration_ms=span(heard.body, "wrapupDurationMs", BODY),
        ),
    )


def read_suggestion(heard: Envelope) -> tuple[Event, ...]:
    """A wish for a suggestion (Triggered), or what became of one: suggestions.thirdpartyaction."""
    body, conversation = heard.body, heard.conversation
    name, state = key(body, "suggestionId", BODY), key(body, "state", BODY)
    engagement = text(body, "engagementType", BODY)
    context, at = child(body, "context", BODY), f"{BODY}.context"
    return (
        SuggestionRequested(
            id=keys.suggestion(conversation, name, state, engagement),
            conversation=conversation,
            at_ms=heard.happened_ms(),
            suggestion=name,
            state=state,
            trigger=text(body, "triggerType", BODY),
            question=text(context, "queryStatement", at),
            language=dialect(text(context, "language", at)),
            agent=text(context, "userId", at),
            queue=text(context, "queueId", at),
            utterance=text(context, "utteranceId", at),
            engagement=engagement,
            rating=text(child(body, "feedback", BODY), "rating", f"{BODY}.feedback"),
        ),
    )


def read_summary(heard: Envelope) -> tuple[Event, ...]:
    """Genesys' summary: conversations.summaries. One with an errorType has no text."""
    body, conversation = heard.body, heard.conversation
    name, error = text(body, "summaryId", BODY), text(body, "errorType", BODY)
    return (
        SummaryReady(
            id=keys.summary(conversation, name or keys.digest(body), error),
            conversation=conversation,
            at_ms=moment(body, "createdDate", BODY) or heard.sent_ms or 0,
            summary=name,
            text=text(child(body, "summary", BODY), "text", f"{BODY}.summary"),
            language=dialect(text(body, "language", BODY)),
            agent=_agent_of(heard),
            queue=text(body, "queueId", BODY),
            error=error,
        ),
    )


def _agent_of(heard: Envelope) -> str:
    for index, participant in enumerate(children(heard.body, "participants", BODY)):
        at = f"{BODY}.participants[{index}]"
        if text(participant, "purpose", at).lower() in {"agent", "user"}:
            return text(participant, "userId", at)
    return ""


def read_open_message(body: Fields) -> tuple[Event, ...]:
    """What was sent to the customer of an Open Messaging channel, told by that channel's own webhook.

    Receipts, typing, and messages without a conversation are kept as Unknown: there is no text to fetch for them.
    """
    kind = text(body, "type", "the message").lower()
    conversation = known_conversation("", body)
    channel = child(body, "channel", "the message")
    at_ms = moment(channel, "time", "the message.channel") or 0
    if not conversation or kind in {"receipt", "event"}:
        topic, kept = f"open_messaging.{kind}", dict(body)
        name = keys.event_id(topic, kept)
        return (Unknown(id=name, conversation=conversation, at_ms=at_ms, topic=topic, body=kept),)
    name, human = key(body, "id", "the message"), text(body, "originatingEntity", "the message") == "Human"
    return (
        MessageReceived(
            id=keys.message(conversation, name),
            conversation=conversation,
            at_ms=at_ms,
            message=name,
            participant="",
            speaker="agent" if human else "unknown",
            media="open",
        ),
    )
