"""What the viewers of one conversation see, and the last frames that told them: pure of tasks and sockets.

Rules. Every frame has an id, `name-number`. Who comes back with the id of a frame that is still kept gets exactly the
frames after it; everybody else gets a `reset` with the whole state, and goes on from there. The name is drawn anew for
each `Live`, so the id of an earlier one, or of another server's, is never mistaken for ours.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

import orjson
from attrs import asdict, define, field, frozen

from bridge.core.events import Speaker
from bridge.core.masking.cleared import Shown

STANDING = frozenset({"open", "ready"})
"""States in which a card is on the page; any other withdraws it."""


@frozen
class PanelLine:
    """One turn for the agent's eyes: `seq` and `event` name it, `start_ms` is UTC."""

    seq: int
    event: str
    speaker: Speaker
    start_ms: int
    text: Shown = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """The line as the page reads it."""
        return asdict(self, recurse=False) | {"text": self.text.text}


@frozen
class Card:
    """The suggestion as it stands: `text` is all of it so far, `based_on` the events it answers."""

    card: str
    state: str
    text: str = field(repr=False)
    based_on: tuple[str, ...]

    def continues(self, before: Card | None) -> bool:
        """Whether only more text came since `before`."""
        return (
            before is not None
            and self.card == before.card
            and self.state == before.state
            and self.based_on == before.based_on
            and self.text.startswith(before.text)
        )


@define
class Live:
    """One conversation: its lines, its card, whether the model answers; and the last `limit` frames."""

    limit: int = 500
    _name: str = field(factory=lambda: secrets.token_hex(6))
    last: int = field(init=False, default=0)
    ready: bool = field(init=False, default=False)
    """Whether the lines have been read once, so that a `reset` can be made."""
    _frames: deque[bytes] = field(init=False, repr=False)
    _lines: dict[int, PanelLine] = field(init=False, factory=dict)
    _card: Card | None = field(init=False, default=None)
    _reachable: bool = field(init=False, default=True)

    @_frames.default
    def _ring(self) -> deque[bytes]:
        return deque(maxlen=self.limit)

    # --- what comes in

    def take(self, message: bytes) -> bool:
        """Take in a message of the bus. True: something new is in the log, so the lines are to be read again.

        What it does not know, a newer version's message for one, it passes over.
        """
        told = _parse(message)
        kind = told.get("type")
        if kind == "card":
            if card := _card(told):
                self._place(card)
        elif kind == "gateway" and told.get("state") in ("down", "up"):
            self._reach(told["state"] == "up")
        return kind == "event"

    def show(self, lines: Iterable[PanelLine]) -> None:
        """Take in the conversation's lines; those that are new make one frame."""
        fresh = {line.seq: line for line in lines if line.seq not in self._lines}
        self._lines.update(fresh)
        if fresh and self.ready:
            self._add("lines", [line.as_json() for line in fresh.values()])
        self.ready = True

    def forget(self) -> None:
        """Messages were lost: withdraw what may no longer hold. A card that still stands is told again as it grows."""
        if self._card:
            self._place(Card(self._card.card, "lost", "", ()))
        self._reach(True)

    def _place(self, card: Card) -> None:
        before = self._card
        if card.state not in STANDING:
            if before and before.card == card.card:
                self._card = None
                self._add("withdrawn", {"card": card.card, "state": card.state})
        elif card != before:
            self._card = card
            if before and card.continues(before):
                self._add("more", card.text[len(before.text) :])
            else:
                self._add("card", asdict(card))

    def _reach(self, reachable: bool) -> None:  # noqa: FBT001 - a state, not a switch
        if reachable != self._reachable:
            self._reachable = reachable
            self._add("model", {"reachable": reachable})

    def _add(self, event: str, content: Any) -> None:
        self.last += 1
        self._frames.append(self._frame(event, content))

    # --- what goes out

    def position(self, last_event_id: str) -> int | None:
        """The frame that a browser saw last, or None when what followed it is not kept, or it is not ours."""
        name, _, number = last_event_id.rpartition("-")
        if name != self._name or not number.isdecimal() or len(number) > 15:
            return None
        return int(number) if 0 <= self.last - int(number) <= len(self._frames) else None

    def after(self, position: int) -> bytes | None:
        """All frames after that one, in one piece; None when the first of them is no longer kept."""
        missed = self.last - position
        if missed == 1:
            return self._frames[-1]
        if missed > len(self._frames):
            return None
        return b"".join(islice(self._frames, len(self._frames) - missed, None))

    def reset(self) -> bytes:
        """The frame that tells everything; what follows it is `after(last)`."""
        lines = [line.as_json() for line in self._lines.values()]
        card = asdict(self._card) if self._card else None
        return self._frame("reset", {"lines": lines, "card": card, "reachable": self._reachable})

    def _frame(self, event: str, content: Any) -> bytes:
        # Line by line as it is: orjson writes no line ends, and neither name nor id holds any.
        return f"id: {self._name}-{self.last}\nevent: {event}\ndata: ".encode() + orjson.dumps(content) + b"\n\n"


def _parse(message: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(message)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _card(told: dict[str, Any]) -> Card | None:
    """Field by field: a structural `match` takes as long as everything else that is done to a piece here."""
    key, state, text, events = told.get("card"), told.get("state"), told.get("text"), told.get("based_on")
    if isinstance(key, str) and isinstance(state, str) and isinstance(text, str) and isinstance(events, list):
        return Card(key, state, text, tuple(events))
    return None
