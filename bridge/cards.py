"""Cards: what the agent's panel shows while a model writes it, masked, and withdrawn when it comes too late."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

import orjson
from attrs import define, field

from bridge.core.events import Utterance
from bridge.core.masking import Masked, Reveal
from bridge.core.masking.concealing import Conceal
from bridge.errors import BridgeError
from bridge.ports import Record

if TYPE_CHECKING:
    from bridge.context import Context

CardState = Literal["ready", "superseded", "expired", "withheld", "failed"]


class CardExpired(BridgeError):  # noqa: N818 - ends the handler, no error of anybody
    """The card's first words came too late to help: nothing was shown, and the handler ends."""


@define
class Card:
    """One suggestion on the panel: open from its first words, then ready or withdrawn."""

    ctx: Context
    based_on: Utterance
    key: str
    _masked: list[str] = field(init=False, factory=list, repr=False)
    _shown: list[str] = field(init=False, factory=list, repr=False)
    _conceal: Conceal | None = field(init=False, default=None)
    _reveal: Reveal | None = field(init=False, default=None)
    _first_ms: int | None = field(init=False, default=None)

    @property
    def text(self) -> str:
        """What was written so far, masked."""
        return "".join(self._masked) + (self._conceal.rest().text if self._conceal else "")

    def write(self, piece: str) -> None:
        """Add a piece and show it. Raises CardExpired when the first one comes too late."""
        if self._conceal is None or self._reveal is None:
            self._begin()
            self._conceal = Conceal(self.ctx.vault)
            self._reveal = Reveal(self.ctx.vault, self.ctx.services.unmask)
        self._add(self._conceal.feed(piece), self._reveal)

    def end(self, state: CardState) -> Record:
        """Close the card: the last of its text is shown, or all of it withdrawn."""
        if state == "ready" and self._conceal and self._reveal:
            self._add(self._conceal.close(), self._reveal)
            self._shown.append(self._reveal.close().text)
        final = "withheld" if state == "ready" and not self.text else state
        self._publish(final)
        self.ctx.services.journal.note("card", key=self.key, conversation=self.ctx.event.conversation, state=final)
        return self.ctx.record(self.key, "card", final, self._figures())

    def _begin(self) -> None:
        late_ms = self.ctx.services.late_ms
        if late_ms is not None and self.ctx.age_ms > late_ms:
            raise CardExpired(f"its first words came {self.ctx.age_ms} ms after the words they answer")

    def _add(self, masked: Masked, reveal: Reveal) -> None:
        if masked.text:
            self._masked.append(masked.text)
            self._shown.append(reveal.feed(masked.text).text)
            self._first_ms = self._first_ms or self.ctx.services.clock.now_ms()
            self._publish("open")

    def _publish(self, state: str) -> None:
        """The whole card at each change: a message that is lost on the way does no harm."""
        message = {
            "type": "card",
            "card": self.key,
            "state": state,
            "text": "".join(self._shown) if state in {"open", "ready"} else "",
            "based_on": [self.based_on.id],
        }
        self.ctx.services.bus.publish(self.ctx.event.conversation, orjson.dumps(message), keep=True)

    def _figures(self) -> dict[str, Any]:
        return {
            "based_on": [self.based_on.id],
            "said_ms": self.based_on.end_ms,
            "told_ms": self.based_on.at_ms,
            "received_ms": self.ctx.delivery.event.received_ms,
            "first_shown_ms": self._first_ms,
            "ended_ms": self.ctx.services.clock.now_ms(),
            "text_sha256": digest(self.text),
        }


def digest(text: str) -> str:
    """How records name a text that they must not hold."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
