"""The wrappings that Genesys events arrive in: bare, EventBridge, or the JSON of a trigger's data action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from bridge.core.genesys import keys
from bridge.core.genesys.fields import Fields, is_key, key, moment, read_ms, refuse
from bridge.errors import PayloadError

BODY = "eventBody"
"""How paths in error messages begin."""

_WRAPPING = frozenset({"topicName", "detail-type", "version", "metadata", "timestamp", "receivedAt"})
_OF_CONVERSATION = re.compile(
    r"v2\.(?:conversations|detail\.events\.conversation|speechandtextanalytics\.conversations?|bot\.conversation)"
    r"\.([^.{}]+)\."
)
_PATTERN = re.compile(r"(\bconversations?\.)\{id\}")


def decode(raw: bytes | str) -> dict[str, Any]:
    """A JSON object from the wire. PayloadError: 400 `malformed` when it is no JSON, 422 when it is no object.

    Of two equal keys the last one counts: the parser does not tell.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"not JSON: {error}", status=400, code="malformed") from None
    if type(found) is not dict:
        refuse("the body", found, "a JSON object")
    return found


@frozen
class Envelope:
    """One event as Genesys words it: topic and body. `outer` is what it came in, the innermost first."""

    topic: str
    body: Fields
    outer: tuple[Fields, ...]

    @property
    def conversation(self) -> str:
        """The conversation, as the body or else the topic names it. PayloadError when neither does."""
        if self.body.get("conversationId") is None and is_key(named := _named(self.topic)):
            return named
        return key(self.body, "conversationId", BODY)

    @property
    def full_topic(self) -> str:
        """The topic with its conversation: triggers may name it by its pattern, yet the event's id must be the same."""
        told = self.body.get("conversationId")
        if "{id}" not in self.topic or not is_key(told):
            return self.topic
        return _PATTERN.sub(lambda found: found[1] + told, self.topic)

    @property
    def id(self) -> str:
        """Topic and hash of the body."""
        return keys.event_id(self.full_topic, self.body)

    @property
    def sent_ms(self) -> int | None:
        """When it was sent or received, as far as the wrapping tells: a trigger's template may put anything there."""
        told = (read_ms(wrapping.get(name)) for wrapping in self.outer for name in ("timestamp", "time", "receivedAt"))
        return next((ms for ms in told if ms is not None), None)

    def happened_ms(self) -> int:
        """The body's `eventTime`, or when the event was sent. PayloadError when neither is told."""
        happened = moment(self.body, "eventTime", BODY)
        if happened is None:
            happened = self.sent_ms
        if happened is None:
            refuse(f"{BODY}.eventTime", None, "epoch milliseconds or ISO 8601")
        return happened


def is_control(envelope: Fields) -> bool:
    """Whether it is the notification channel's own frame: a heartbeat, a pong, the answer to a subscription."""
    if envelope.get("topicName") == "channel.metadata":
        return True
    wrapped = envelope.keys() & {"topicName", "detail", "detail-type", BODY}
    return not wrapped and any(isinstance(envelope.get(name), str) for name in ("result", "message"))


def unwrap(envelope: Fields) -> Envelope:
    """Find topic and body. PayloadError when there is no topic, so that it is no event at all."""
    detail = envelope.get("detail")
    inner = detail if isinstance(detail, Mapping) and "topicName" not in envelope else envelope
    topic = inner.get("topicName") or envelope.get("detail-type")
    if type(topic) is not str:
        refuse("topicName", topic, "the event's topic beside its eventBody (or detail-type beside detail)")
    return Envelope(topic, _body_of(inner), (inner, envelope))


def is_open_message(envelope: Fields) -> bool:
    """Whether it is no envelope but the normalized message that an Open Messaging integration posts."""
    return isinstance(envelope.get("channel"), Mapping) and not envelope.keys() & {"topicName", "detail-type", BODY}


def known_conversation(topic: str, body: Fields) -> str:
    """The conversation that body or topic names, or "" when neither does, as what we have no class for may."""
    told = (body.get("conversationId"), _named(topic))
    return next((name for name in told if is_key(name)), "")


def _named(topic: str) -> str:
    """The conversation in a topic, if topics of its kind name one."""
    named = _OF_CONVERSATION.match(topic)
    return named[1] if named else ""


def _body_of(inner: Fields) -> Fields:
    """`eventBody`, or else the fields beside the topic: a data action's template may spread them out."""
    body = inner.get(BODY)
    if isinstance(body, Mapping):
        return body
    if body is not None:
        refuse(BODY, body, "an object")
    return {name: value for name, value in inner.items() if name not in _WRAPPING}
