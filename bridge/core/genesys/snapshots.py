"""Conversation snapshots: v2.users.{id}.conversations and v2.routing.queues.{id}.conversations, both also by media.

Each is the whole current state, sent again at every change. The facts it shows get the keys that the detail events
give them, so whichever is heard first counts and the other is a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.core.events import (
    AgentJoined,
    AgentLeft,
    ConversationEnded,
    ConversationStarted,
    CustomerLeft,
    Event,
    MessageReceived,
    QueueConversation,
    WrapUp,
)
from bridge.core.genesys import keys
from bridge.core.genesys.envelope import BODY, Envelope
from bridge.core.genesys.fields import children, key, text
from bridge.core.genesys.presence import AGENTS, CUSTOMERS, Presence, read_presence


def read_snapshot(heard: Envelope) -> tuple[Event, ...]:
    """The snapshot itself first, then the facts that it shows, in the order a conversation has them.

    A fact without a time of its own gets the snapshot's: the newest time in it, or else when it was sent, or 0.
    """
    conversation = key(heard.body, "id", BODY)
    present = [
        read_presence(body, f"{BODY}.participants[{index}]", heard.topic)
        for index, body in enumerate(children(heard.body, "participants", BODY))
    ]
    now_ms = max((ms for one in present for ms in one.times()), default=heard.sent_ms or 0)
    snapshot = QueueConversation(
        id=heard.id,
        conversation=conversation,
        at_ms=now_ms,
        participants=tuple(one.shown for one in present),
        external_tag=text(heard.body, "externalTag", BODY),
    )
    facts = {fact.id: fact for fact in _facts(conversation, present, now_ms)}
    return (snapshot, *facts.values())


def _facts(conversation: str, present: Iterable[Presence], now_ms: int) -> Iterator[Event]:
    customers = _customers(present)
    agents = [one for one in present if one.shown.purpose in AGENTS]
    yield from (_started(conversation, one, now_ms) for one in customers if one.shown.connected)
    yield from (_joined(conversation, one, now_ms) for one in agents if not one.shown.ended)
    for one in present:
        yield from _messages(conversation, one, now_ms)
    for one in agents:
        if one.shown.ended:
            yield _agent_left(conversation, one, now_ms)
        yield from _wrapup(conversation, one, now_ms)
    yield from _ends(conversation, customers, now_ms)


def _customers(present: Iterable[Presence]) -> list[Presence]:
    """An external party is the customer of a conversation that has no other: else it is someone called for advice."""
    customers = [one for one in present if one.shown.purpose == "customer"]
    return customers or [one for one in present if one.shown.purpose in CUSTOMERS]


def _time(told_ms: int | None, now_ms: int) -> int:
    return now_ms if told_ms is None else told_ms


def _started(conversation: str, one: Presence, now_ms: int) -> ConversationStarted:
    return ConversationStarted(
        id=keys.customer(conversation, one.shown.id, "started"),
        conversation=conversation,
        at_ms=_time(one.began_ms, now_ms),
        participant=one.shown.id,
        media=one.media,
        direction=one.direction,
        contact=one.shown.contact,
    )


def _joined(conversation: str, one: Presence, now_ms: int) -> AgentJoined:
    return AgentJoined(
        id=keys.agent(conversation, one.shown.id, "joined"),
        conversation=conversation,
        at_ms=_time(one.began_ms, now_ms),
        participant=one.shown.id,
        agent=one.shown.user,
        queue=one.shown.queue,
    )


def _agent_left(conversation: str, one: Presence, now_ms: int) -> AgentLeft:
    """Also for the dead legs that a call offered again leaves behind, each a participant of its own."""
    return AgentLeft(
        id=keys.agent(conversation, one.shown.id, "left"),
        conversation=conversation,
        at_ms=_time(one.ended_ms, now_ms),
        participant=one.shown.id,
        agent=one.shown.user,
        queue=one.shown.queue,
        reason=one.reason,
    )


def _messages(conversation: str, one: Presence, now_ms: int) -> Iterator[MessageReceived]:
    for note in one.notes:
        yield MessageReceived(
            id=keys.message(conversation, note.message),
            conversation=conversation,
            at_ms=_time(note.at_ms, now_ms),
            message=note.message,
            participant=one.shown.id,
            speaker=one.speaker,
            media=note.media,
            status=note.status,
        )


def _wrapup(conversation: str, one: Presence, now_ms: int) -> Iterator[WrapUp]:
    noted = one.after_call
    if noted:
        yield WrapUp(
            id=keys.wrapup(conversation, one.shown.id, noted.code, noted.notes),
            conversation=conversation,
            at_ms=_time(noted.at_ms, now_ms),
            participant=one.shown.id,
            agent=one.shown.user,
            queue=one.shown.queue,
            code=noted.code,
            notes=noted.notes,
            duration_ms=noted.duration_ms,
        )


def _ends(conversation: str, customers: list[Presence], now_ms: int) -> Iterator[Event]:
    gone = [one for one in customers if one.shown.ended]
    for one in gone:
        yield CustomerLeft(
            id=keys.customer(conversation, one.shown.id, "left"),
            conversation=conversation,
            at_ms=_time(one.ended_ms, now_ms),
            participant=one.shown.id,
            reason=one.reason,
        )
    if gone and len(gone) == len(customers):
        last_ms = max(_time(one.ended_ms, now_ms) for one in gone)
        yield ConversationEnded(id=keys.ended(conversation), conversation=conversation, at_ms=last_ms)
