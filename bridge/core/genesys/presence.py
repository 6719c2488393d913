"""What a conversation snapshot tells of one participant, from either of its two shapes.

Nested (v2.users.{id}.conversations): calls[], messages[] … are the participant's legs, each with an id (the
communicationId), a state and times; a leg of messages[] holds the messages themselves.
Flat (v2.users.{id}.conversations.messages and the other single media): the participant is its own leg, and its
messages[] are messages.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from bridge.core.events import Participant, Speaker
from bridge.core.genesys.fields import Fields, child, children, key, moment, span, text

CUSTOMERS = frozenset({"customer", "external"})
AGENTS = frozenset({"agent", "user"})
MEDIA = {
    "calls": "voice",
    "callbacks": "callback",
    "chats": "chat",
    "cobrowsesessions": "cobrowse",
    "emails": "email",
    "internalMessages": "internalmessage",
    "messages": "message",
    "screenshares": "screenshare",
    "socialExpressions": "social",
    "videos": "video",
}
"""The lists of legs, and their media in the words of the detail events."""
_TOPIC_MEDIA = {name.lower(): media for name, media in MEDIA.items()}
_OVER = frozenset({"disconnected", "terminated"})
_NO_MESSAGE = frozenset({"event", "receipt"})


@frozen
class Note:
    """A digital message in a snapshot."""

    message: str
    media: str
    status: str
    at_ms: int | None


@frozen
class AfterCall:
    """After-call work in a snapshot."""

    code: str
    notes: str
    duration_ms: int | None
    at_ms: int | None


@frozen
class Presence:
    """A participant, with the times and words of the leg that counts."""

    shown: Participant
    media: str
    direction: str
    reason: str
    began_ms: int | None
    ended_ms: int | None
    notes: tuple[Note, ...]
    after_call: AfterCall | None

    @property
    def speaker(self) -> Speaker:
        """Whose messages its messages are."""
        if self.shown.purpose in CUSTOMERS:
            return "customer"
        return "agent" if self.shown.purpose in AGENTS else "unknown"

    def times(self) -> Iterator[int]:
        """All that it tells about when."""
        told = [self.began_ms, self.ended_ms, *(note.at_ms for note in self.notes)]
        yield from (ms for ms in told if ms is not None)


@frozen
class _Leg:
    id: str
    media: str
    state: str
    direction: str
    reason: str
    began_ms: int | None
    ended_ms: int | None
    notes: tuple[Note, ...]


def read_presence(body: Fields, at: str, topic: str) -> Presence:
    """Read one of participants[]; `at` is its path, the last word of `topic` the media of the flat shape."""
    legs = list(_legs(body, at, topic))
    live = next((leg for leg in legs if leg.state == "connected"), None)
    return Presence(
        shown=_participant(body, at, legs),
        media=live.media if live else "",
        direction=live.direction if live else "",
        reason=next((leg.reason for leg in reversed(legs) if leg.reason), ""),
        began_ms=_first(moment(body, "connectedTime", at), *(leg.began_ms for leg in legs)),
        ended_ms=_first(moment(body, "endTime", at), *(leg.ended_ms for leg in reversed(legs))),
        notes=tuple(note for leg in legs for note in leg.notes),
        after_call=_after_call(child(body, "wrapup", at), f"{at}.wrapup"),
    )


def _participant(body: Fields, at: str, legs: list[_Leg]) -> Participant:
    """It has ended when it says so, or when all of its legs are over."""
    ended = body.get("endTime") is not None or (bool(legs) and all(leg.state in _OVER for leg in legs))
    return Participant(
        id=key(body, "id", at),
        purpose=text(body, "purpose", at).lower(),
        user=text(body, "userId", at) or text(child(body, "user", at), "id", f"{at}.user"),
        queue=text(body, "queueId", at) or text(child(body, "queue", at), "id", f"{at}.queue"),
        contact=text(body, "externalContactId", at),
        connected=not ended and any(leg.state == "connected" for leg in legs),
        ended=ended,
        communications=tuple(leg.id for leg in legs if leg.id),
    )


def _first(*told: int | None) -> int | None:
    return next((ms for ms in told if ms is not None), None)


def _legs(body: Fields, at: str, topic: str) -> Iterator[_Leg]:
    if text(body, "state", at):
        media = _TOPIC_MEDIA.get(topic.rpartition(".")[2], "")
        yield _leg("", body, at, media)
        return
    for name, media in MEDIA.items():
        for index, leg in enumerate(children(body, name, at)):
            here = f"{at}.{name}[{index}]"
            yield _leg(text(leg, "id", here), leg, here, media)


def _leg(name: str, leg: Fields, at: str, media: str) -> _Leg:
    kind = text(leg, "type", at).lower() or media
    return _Leg(
        id=name,
        media=media,
        state=text(leg, "state", at).lower(),
        direction=text(leg, "direction", at).lower(),
        reason=text(leg, "disconnectType", at).lower(),
        began_ms=moment(leg, "connectedTime", at),
        ended_ms=moment(leg, "disconnectedTime", at),
        notes=tuple(_notes(leg, at, kind)),
    )


def _notes(leg: Fields, at: str, media: str) -> Iterator[Note]:
    """Typing, presence and receipts travel as messages too, but there is no text to fetch for them."""
    for index, told in enumerate(children(leg, "messages", at)):
        here = f"{at}.messages[{index}]"
        if text(child(told, "messageMetadata", here), "type", f"{here}.messageMetadata").lower() in _NO_MESSAGE:
            continue
        flat = child(told, "message", here)
        yield Note(
            message=key(flat, "id", f"{here}.message") if flat else key(told, "messageId", here),
            media=media,
            status=text(told, "messageStatus", here),
            at_ms=moment(told, "messageTime", here),
        )


def _after_call(body: Fields, at: str) -> AfterCall | None:
    code, notes, seconds = text(body, "code", at), text(body, "notes", at), span(body, "durationSeconds", at)
    if not code and not notes:
        return None
    return AfterCall(code, notes, None if seconds is None else seconds * 1000, moment(body, "endTime", at))
