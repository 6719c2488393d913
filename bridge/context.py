"""What a handler can do: ask a model, show a card, note a callback, look back, log.

Handlers see plain text. Every way out of the house goes through masking here, so no handler can forget it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from attrs import define, field, frozen

from bridge.asking import Asking
from bridge.cards import Card, CardState
from bridge.core.codec import load
from bridge.core.events import Event, Utterance
from bridge.core.masking import Kind, Masked, hide
from bridge.core.masking.borrowing import Borrowed
from bridge.core.prompts import Prompt
from bridge.core.transcript import Transcript, disarm
from bridge.errors import ConfigError
from bridge.ports import Bus, Callback, Clock, Delivery, Effect, Engine, Gateway, Genesys, Journal, Record
from bridge.settings import Budgets, Model
from bridge.transcripts import Transcripts


@frozen
class Services:
    """What all contexts share. `late_ms`: after that a card is not shown; `unmask`: what the agent may see."""

    engine: Engine
    gateway: Gateway
    genesys: Genesys | None
    bus: Bus
    clock: Clock
    journal: Journal
    transcripts: Transcripts
    prompts: Mapping[str, Prompt]
    models: Mapping[str, Model]
    model: str
    budgets: Budgets
    late_ms: int | None
    unmask: frozenset[Kind]


@define
class Context:
    """One run of one delivery."""

    services: Services
    delivery: Delivery
    event: Event
    vault: Borrowed = field(init=False, factory=Borrowed)
    _callbacks: list[tuple[str, str, dict[str, Any]]] = field(init=False, factory=list)
    _records: list[Record] = field(init=False, factory=list)
    _cards: list[Card] = field(init=False, factory=list)
    _asked: int = field(init=False, default=0)
    _open: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    # --- for handlers

    def ask(self, prompt: str, *, whole: bool = False, model: str = "", **values: str) -> Asking:
        """Stream a model's answer to a prompt file, piece by piece: `async for piece in ctx.ask("suggest", …)`.

        The prompt sees the conversation as it was at this event; `whole`: up to now. Raises BudgetError when it
        cannot fit or a cap is spent, GatewayError when no text could be had.
        """
        self._asked += 1
        return Asking(self, prompt, f"{self.delivery.key}:{self._asked}", model or self.services.model, values, whole)

    def card(self, *, based_on: Utterance) -> Card:
        """A card on the agent's panel, live from its first piece; withdrawn when it comes too late."""
        card = Card(self, based_on, f"{self.delivery.key}:card{len(self._cards) + 1}")
        self._cards.append(card)
        return card

    def callback(self, destination: str, name: str, **fields: Any) -> None:
        """Note an effect: posted, masked, after this handler has ended well; exactly one entry at the other end.

        Texts, keys, and numbers that read like personal data are masked. Hand times over as text.
        """
        self._callbacks.append((destination, name, fields))

    def log(self, text: str, *, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        """Write a line into the log, masked, beside the ids of this delivery. What goes by `logging` is not masked."""
        self.services.journal.note(
            "told",
            event=self.event.id,
            conversation=self.event.conversation,
            handler=self.delivery.handler,
            text=hide(text, self.vault),
            level=level,
        )

    async def history(self) -> list[Event]:
        """The conversation's events so far, this one and later ones that are stored already included."""
        stored = await self.services.engine.history(self.event.conversation)
        return [load(one.kind, one.body) for one in stored]

    async def transcript(self) -> Transcript:
        """The conversation's masked turns, up to now."""
        transcript = await self.services.transcripts.of(self.event.conversation)
        self.vault.of = transcript.vault
        return transcript

    @property
    def genesys(self) -> Genesys:
        """Genesys Cloud's API. Raises ConfigError where none is set."""
        if self.services.genesys is None:
            raise ConfigError(["genesys.client_id: is missing; a handler wants to call Genesys Cloud"])
        return self.services.genesys

    @property
    def age_ms(self) -> int:
        """How long ago the event came in."""
        return self.services.clock.now_ms() - self.delivery.event.received_ms

    # --- for the worker

    @property
    def has_card(self) -> bool:
        """Whether the handler began a card."""
        return bool(self._cards)

    async def end(self, state: CardState) -> Sequence[Effect]:
        """Close the cards in that state; what is to be stored: records always, callbacks only after success."""
        callbacks = await self._effects() if state == "ready" and self._callbacks else []
        self._records += [card.end(state) for card in self._cards]
        return [*self._records, *callbacks]

    def keep(self, record: Record) -> None:
        """Have it stored with the settlement."""
        self._records.append(record)

    def tell_panel(self, gateway: Literal["up", "down"]) -> None:
        """Whether the model can be reached: while it cannot, the agent sees that suggestions wait."""
        self.services.bus.publish(self.event.conversation, orjson.dumps({"type": "gateway", "state": gateway}))

    def on_close(self, closing: Callable[[], Awaitable[object]]) -> None:
        """Have `closing` awaited when the handler is left, however it is left."""
        self._open.push_async_callback(closing)

    async def close(self) -> None:
        """Leave every stream that is still open: that closes it upstream. By the task that ran the handler."""
        await self._open.aclose()

    def mask(self, text: str, transcript: Transcript) -> Masked:
        """Text masked for leaving; the event's own words as its turn has them, since a number may have begun before."""
        if isinstance(self.event, Utterance) and text == self.event.text:
            said = transcript.find(self.event.id)
            if said is not None:
                return said.text
        return hide(disarm(text), self.vault)

    async def _effects(self) -> list[Callback]:
        transcript = await self.transcript()

        def mask(text: str) -> str:
            return self.mask(text, transcript).text

        return [
            self._callback(n, destination, name, _masked(fields, mask))
            for n, (destination, name, fields) in enumerate(self._callbacks, 1)
        ]

    def _callback(self, n: int, destination: str, name: str, fields: dict[str, Any]) -> Callback:
        stored = self.delivery.event
        told = {
            "type": name,
            "timestamp": datetime.fromtimestamp(self.event.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "data": {
                "conversation": stored.conversation,
                "event": stored.id,
                "handler": self.delivery.handler,
                **fields,
            },
        }
        key = f"{self.delivery.key}:{n}"
        return Callback(
            key, stored.conversation, self.delivery.handler, stored.id, destination, name, orjson.dumps(told)
        )

    def record(self, key: str, kind: Literal["card", "inference"], state: str, fields: Mapping[str, Any]) -> Record:
        """A record of this delivery."""
        stored = self.delivery.event
        return Record(key, kind, stored.conversation, self.delivery.handler, stored.id, state, fields)


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    """The same structure with every text masked, keys too, and numbers where they read like personal data.

    Raises TypeError for what else JSON might take, such as a dataclass: nobody would have looked into it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, (int, float)):
        return value if mask(str(value)) == str(value) else mask(str(value))
    if isinstance(value, Mapping):
        return {mask(str(key)): _masked(inner, mask) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(inner, mask) for inner in value]
    raise TypeError(f"a callback takes text, numbers, lists and mappings, and no {type(value).__name__}")


MakeContext = Callable[[Delivery, Event], Context]
