"""From what Genesys Cloud sends to our events.

`decode` the bytes, `parse` the envelope. A topic of ours whose fields are missing or of the wrong type is refused with
the path of the field; a topic that we have no class for becomes `Unknown` and is kept; fields we do not know are no
fault. Nothing of a body's text ever stands in an error message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from bridge.core.events import ConversationEnded, ConversationStarted, CustomerLeft, Event, Unknown
from bridge.core.genesys import keys
from bridge.core.genesys.details import (
    read_customer_end,
    read_customer_start,
    read_open_message,
    read_suggestion,
    read_summary,
    read_user_end,
    read_user_start,
    read_wrapup,
)
from bridge.core.genesys.envelope import Envelope, decode, is_control, is_open_message, known_conversation, unwrap
from bridge.core.genesys.fields import Fields
from bridge.core.genesys.keys import event_id
from bridge.core.genesys.presence import MEDIA
from bridge.core.genesys.snapshots import read_snapshot
from bridge.core.genesys.transcription import read_transcription
from bridge.errors import PayloadError

__all__ = ["decode", "ended", "event_id", "has_ended", "is_control", "parse"]

_Reader = Callable[[Envelope], tuple[Event, ...]]

_TOPIC = re.compile(
    r"v2\.(conversations|detail\.events\.conversation|users|routing\.queues|bot\.conversation)\.[^.]+\.(.+)"
)
_SNAPSHOTS = ["conversations", *(f"conversations.{name.lower()}" for name in MEDIA)]
_READERS: Mapping[tuple[str, str], _Reader] = {
    ("conversations", "transcription"): read_transcription,
    ("conversations", "suggestions.thirdpartyaction"): read_suggestion,
    ("detail.events.conversation", "customer.start"): read_customer_start,
    ("detail.events.conversation", "customer.end"): read_customer_end,
    ("detail.events.conversation", "user.start"): read_user_start,
    ("detail.events.conversation", "user.end"): read_user_end,
    ("detail.events.conversation", "acw"): read_wrapup,
    ("detail.events.conversation", "wrapup"): read_wrapup,
    ("users", "conversations.summaries"): read_summary,
    ("bot.conversation", "conversations.summaries"): read_summary,
    **{("users", name): read_snapshot for name in _SNAPSHOTS},
    **{("routing.queues", name): read_snapshot for name in _SNAPSHOTS},
}


def parse(envelope: Fields) -> tuple[Event, ...]:
    """The events of one envelope, the primary one first; () for a control frame of the channel.

    Takes the bare form, EventBridge's (`detail`), a trigger's JSON (the body under `eventBody`, or its fields beside
    the topic), and Open Messaging's message. PayloadError (422) when it is none of these, or when a topic of ours
    lacks what it must have.
    """
    if is_control(envelope):
        return ()
    if is_open_message(envelope):
        return read_open_message(envelope)
    heard = unwrap(envelope)
    matched = _TOPIC.fullmatch(heard.topic)
    read = _READERS.get((matched[1], matched[2])) if matched else None
    return read(heard) if read else (_unknown(heard),)


def has_ended(events: Iterable[Event]) -> bool:
    """Whether, by a conversation's history, every customer that came has left, and at least one did."""
    came, left = set(), set()
    for event in events:
        if isinstance(event, ConversationStarted):
            came.add(event.participant)
        elif isinstance(event, CustomerLeft):
            left.add(event.participant)
    return bool(left) and came <= left


def ended(left: CustomerLeft) -> ConversationEnded:
    """The end of the conversation, as the last customer left it."""
    return ConversationEnded(id=keys.ended(left.conversation), conversation=left.conversation, at_ms=left.at_ms)


def _unknown(heard: Envelope) -> Unknown:
    return Unknown(
        id=heard.id,
        conversation=known_conversation(heard.topic, heard.body),
        at_ms=_guessed_ms(heard),
        topic=heard.full_topic,
        body=dict(heard.body),
    )


def _guessed_ms(heard: Envelope) -> int:
    """0 when no time can be made out: a topic that we have no class for may tell it in any form."""
    try:
        return heard.happened_ms()
    except PayloadError:
        return 0
