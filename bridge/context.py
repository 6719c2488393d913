"""What a handler can do: ask a model, show a card, note a callback, look back.

Handlers see plain text. Every way out of the house goes through masking here, so no handler can forget it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import orjson
from attrs import define, field, frozen

from bridge.cards import Card, CardState, digest
from bridge.core.budget import Window, day_of, reservation
from bridge.core.codec import load
from bridge.core.events import Event, Utterance
from bridge.core.masking import Kind, Masked, hide
from bridge.core.masking.borrowing import Borrowed
from bridge.core.prompts import Built, Prompt, build
from bridge.core.tokens import vocabulary_of
from bridge.core.transcript import Transcript, disarm
from bridge.errors import BudgetError, ConfigError, GatewayError
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
    Usage,
)
from bridge.settings import Budgets, Model
from bridge.transcripts import Transcripts

T = TypeVar("T")


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
        async with await self._prepare() as stream:
            async for piece in stream:
                yield piece

    async def _prepare(self) -> _Metered:
        services, ctx = self.ctx.services, self.ctx
        prompt = services.prompts.get(self.prompt)
        if prompt is None:
            raise ConfigError([f"prompts: there is no {self.prompt}.toml; there are {', '.join(services.prompts)}"])
        transcript = await ctx.transcript()
        values = {name: ctx.mask(value, transcript) for name, value in self.values.items()}
        lines = transcript.lines(None if self.whole else ctx.delivery.event.seq)
        model = services.models.get(self.model, Model(name=self.model))
        window = Window(context=model.context, output=min(model.output, prompt.max_tokens))
        built = build(prompt, values, lines, window, vocabulary_of(self.model))
        messages = tuple(Message(turn.role, turn.content) for turn in built.turns)
        inference = Inference(self.key, self.model, messages, window.output, prompt.temperature, model.fallback)
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
            await unbroken(self._reserve())
            self._stream = await self._stack.enter_async_context(gateway.open_answer(self.inference))
        except BaseException as error:
            if isinstance(error, GatewayError):
                self.asking.ctx.tell_panel("down")
            await self._charge(0)
            raise
        self.asking.ctx.tell_panel("up")
        return self._stream

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            self.asking.answer = answer = self._stream.answer if self._stream else None
            used = answer.usage if answer else Usage(self.built.prompt_tokens)
            await self._charge(used.prompt_tokens + used.completion_tokens)
        if answer is not None:
            self._keep(answer)

    async def _reserve(self) -> None:
        """Set the tokens aside, so that no cap is ever passed however many run at once. Raises BudgetError."""
        ctx, services = self.asking.ctx, self.asking.ctx.services
        caps = (
            (f"conversation:{ctx.event.conversation}", services.budgets.conversation),
            (f"tenant:{day_of(services.clock.now_ms())}", services.budgets.tenant_per_day),
        )
        wanted = tuple(cap for cap in caps if cap[1])
        amount = reservation(self.built.prompt_tokens, self.inference.max_tokens)
        wish = Reservation(self.inference.key, amount, wanted, ctx.delivery.partition)
        if wanted and not await services.engine.reserve(wish):
            raise BudgetError(
                f"a call of {amount} tokens would pass a cap of [budgets]: conversation or tenant_per_day"
            )

    async def _charge(self, used: int) -> None:
        await unbroken(self.asking.ctx.services.engine.settle(self.inference.key, used))

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
        fields = {"prompt": self.asking.prompt, "text_sha256": digest(answer.text), **figures}
        ctx._records.append(ctx.record(self.inference.key, "inference", answer.outcome, fields))  # noqa: SLF001
        ctx.services.journal.note(
            "answered", key=self.inference.key, conversation=ctx.event.conversation, outcome=answer.outcome, **figures
        )


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


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, also when we are cancelled meanwhile; only then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


MakeContext = Callable[[Delivery, Event], Context]
