"""What a handler can do: ask a model, show a card, note a callback, look back.

Handlers see plain text. Every way out of the house goes through masking here, so no handler can forget it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from attrs import define, field, frozen

from bridge.core.budget import Window, day_of
from bridge.core.codec import load
from bridge.core.concealing import Conceal
from bridge.core.events import Event, Utterance
from bridge.core.masking import Kind, Masked, Reveal, Vault, hide
from bridge.core.prompts import Built, Prompt, build
from bridge.core.tokens import vocabulary_of
from bridge.core.transcript import Transcript, disarm
from bridge.errors import BridgeError, BudgetError, ConfigError
from bridge.ports import (
    Answer,
    AnswerStream,
    Bus,
    Callback,
    Clock,
    Delivery,
    Effect,
    Engine,
    Gateway,
    Genesys,
    Inference,
    Journal,
    Message,
    Record,
    Reservation,
)
from bridge.settings import Budgets, Model
from bridge.transcripts import Transcripts

CardState = Literal["ready", "superseded", "expired", "withheld", "failed"]


class CardExpired(BridgeError):  # noqa: N818 - ends the handler, no error of anybody
    """The card's first words came too late to help: nothing was shown, and the handler ends."""


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
    _vault: Vault = field(init=False, factory=Vault)
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
        """Note an effect: posted, masked, after this handler has ended well; exactly one entry at the other end."""
        self._callbacks.append((destination, name, fields))

    async def history(self) -> list[Event]:
        """The conversation's events so far, this one and later ones that are stored already included."""
        stored = await self.services.engine.history(self.event.conversation)
        return [load(one.kind, one.body) for one in stored]

    async def transcript(self) -> Transcript:
        """The conversation's masked turns, up to now."""
        transcript = await self.services.transcripts.of(self.event.conversation)
        self._vault = transcript.vault
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
        self._records += [card.end(state) for card in self._cards]
        if state != "ready":
            return self._records
        await self.transcript()
        return [*self._records, *(self._callback(n, *noted) for n, noted in enumerate(self._callbacks, 1))]

    def on_close(self, closing: Callable[[], Awaitable[object]]) -> None:
        """Have `closing` awaited when the handler is left, however it is left."""
        self._open.push_async_callback(closing)

    async def close(self) -> None:
        """Leave every stream that is still open: that closes it upstream. By the task that ran the handler."""
        await self._open.aclose()

    def _callback(self, n: int, destination: str, name: str, fields: dict[str, Any]) -> Callback:
        stored = self.delivery.event
        told = {
            "type": name,
            "timestamp": datetime.fromtimestamp(self.event.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "data": {
                "conversation": stored.conversation,
                "event": stored.id,
                "handler": self.delivery.handler,
                **_masked(fields, self._vault),
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


@define
class Asking:
    """A question on its way: iterate for the text; afterwards `answer` says how it ended."""

    ctx: Context
    prompt: str
    key: str
    model: str
    values: Mapping[str, str]
    whole: bool
    answer: Answer | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        pieces = self._pieces()
        self.ctx.on_close(pieces.aclose)
        return pieces

    @property
    def outcome(self) -> str:
        """`complete`, `cut` or `incomplete`; "" while it still runs."""
        return self.answer.outcome if self.answer else ""

    async def text(self) -> str:
        """The whole answer at once."""
        return "".join([piece async for piece in self])

    async def _pieces(self) -> AsyncGenerator[str, None]:
        built, prompt = await self._build()
        await self._reserve(built.prompt_tokens + prompt.max_tokens)
        async with self._stream(built, prompt) as stream:
            async for piece in stream:
                yield piece

    async def _build(self) -> tuple[Built, Prompt]:
        services, ctx = self.ctx.services, self.ctx
        prompt = services.prompts.get(self.prompt)
        if prompt is None:
            raise ConfigError([f"prompts: there is no {self.prompt}.toml; there are {', '.join(services.prompts)}"])
        transcript = await ctx.transcript()
        values = {name: hide(disarm(value), transcript.vault) for name, value in self.values.items()}
        lines = transcript.lines(None if self.whole else ctx.delivery.event.seq)
        model = services.models.get(self.model, Model(name=self.model))
        window = Window(context=model.context, output=min(model.output, prompt.max_tokens))
        return build(prompt, values, lines, window, vocabulary_of(self.model)), prompt

    async def _reserve(self, amount: int) -> None:
        """Set the tokens aside, so that no cap is ever passed however many run at once."""
        services, conversation = self.ctx.services, self.ctx.event.conversation
        caps = (
            (f"conversation:{conversation}", services.budgets.conversation),
            (f"tenant:{day_of(services.clock.now_ms())}", services.budgets.tenant_per_day),
        )
        wanted = tuple(cap for cap in caps if cap[1])
        if wanted and not await services.engine.reserve(
            Reservation(self.key, amount, wanted, self.ctx.delivery.partition)
        ):
            raise BudgetError(
                f"a call of {amount} tokens would pass a cap of [budgets]: conversation or tenant_per_day"
            )

    def _stream(self, built: Built, prompt: Prompt) -> _Metered:
        messages = tuple(Message(turn.role, turn.content) for turn in built.turns)
        model = self.ctx.services.models.get(self.model)
        inference = Inference(
            self.key, self.model, messages, prompt.max_tokens, prompt.temperature, model.fallback if model else ()
        )
        return _Metered(self, inference, built)


@define
class _Metered:
    """The gateway's stream with its settlement: however it is left, the tokens are charged and a record is kept."""

    asking: Asking
    inference: Inference
    built: Built
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)
    _stream: AnswerStream | None = field(init=False, default=None)

    async def __aenter__(self) -> AnswerStream:
        gateway = self.asking.ctx.services.gateway
        try:
            self._stream = await self._stack.enter_async_context(gateway.open_answer(self.inference))
        except BaseException:
            await self._charge(0)
            raise
        return self._stream

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        answer = self._stream.answer if self._stream else None
        if answer is None:
            await self._charge(self.built.prompt_tokens)
            return
        self.asking.answer = answer
        await self._charge(answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self._keep(answer)

    async def _charge(self, used: int) -> None:
        await self.asking.ctx.services.engine.settle(self.inference.key, used)

    def _keep(self, answer: Answer) -> None:
        ctx = self.asking.ctx
        figures: dict[str, str | float | None] = {
            "model": answer.model,
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
            "counted_by": answer.counted_by,
            "first_token_ms": answer.first_token_ms,
            "total_ms": answer.total_ms,
            "dropped_turns": self.built.dropped,
        }
        fields = {"prompt": self.asking.prompt, "text_sha256": _digest(answer.text), **figures}
        ctx._records.append(ctx.record(self.inference.key, "inference", answer.outcome, fields))  # noqa: SLF001
        ctx.services.journal.note(
            "answered", key=self.inference.key, conversation=ctx.event.conversation, outcome=answer.outcome, **figures
        )


@define
class Card:
    """One suggestion on the panel. `text` is what it says so far, masked."""

    ctx: Context
    based_on: Utterance
    key: str
    _masked: list[str] = field(init=False, factory=list)
    _shown: list[str] = field(init=False, factory=list)
    _conceal: Conceal | None = field(init=False, default=None)
    _reveal: Reveal | None = field(init=False, default=None)
    _first_ms: int | None = field(init=False, default=None)

    @property
    def text(self) -> str:
        """What the card says so far, masked."""
        return "".join(self._masked)

    def write(self, piece: str) -> None:
        """Add a piece and show it. Raises CardExpired when the first one comes too late."""
        services = self.ctx.services
        if self._conceal is None or self._reveal is None:
            self._begin()
            self._conceal, self._reveal = Conceal(self.ctx._vault), Reveal(self.ctx._vault, services.unmask)  # noqa: SLF001
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
        services = self.ctx.services
        self._first_ms = services.clock.now_ms()
        if services.late_ms is not None and self.ctx.age_ms > services.late_ms:
            raise CardExpired(f"its first words came {self.ctx.age_ms} ms after the words they answer")

    def _add(self, masked: Masked, reveal: Reveal) -> None:
        if masked.text:
            self._masked.append(masked.text)
            self._shown.append(reveal.feed(masked.text).text)
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
        self.ctx.services.bus.publish(self.ctx.event.conversation, orjson.dumps(message))

    def _figures(self) -> dict[str, Any]:
        return {
            "based_on": [self.based_on.id],
            "said_ms": self.based_on.end_ms,
            "told_ms": self.based_on.at_ms,
            "received_ms": self.ctx.delivery.event.received_ms,
            "first_shown_ms": self._first_ms,
            "ended_ms": self.ctx.services.clock.now_ms(),
            "text_sha256": _digest(self.text),
        }


def _masked(value: Any, vault: Vault) -> Any:
    """The same structure with every text masked, keys too."""
    if isinstance(value, str):
        return hide(value, vault).text
    if isinstance(value, Mapping):
        return {hide(str(key), vault).text: _masked(inner, vault) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(inner, vault) for inner in value]
    return value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


MakeContext = Callable[[Delivery, Event], Context]
