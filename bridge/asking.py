"""Asking a model: the prompt, its tokens, its stream, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from bridge.cards import digest
from bridge.core.budget import Window, day_of, reservation
from bridge.core.prompts import Built, build
from bridge.core.tokens import vocabulary_of
from bridge.errors import BudgetError, ConfigError, GatewayError
from bridge.ports import Answer, AnswerStream, Inference, Message, Outcome, Reservation, Usage
from bridge.settings import Model

if TYPE_CHECKING:
    from bridge.context import Context

T = TypeVar("T")


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
        ctx, reserved = self.asking.ctx, False
        try:
            await unbroken(self._reserve())
            reserved = True
            self._stream = await self._stack.enter_async_context(ctx.services.gateway.open_answer(self.inference))
        except GatewayError:
            ctx.tell_panel("down")
            await self._charge(0)
            raise
        except BaseException:
            await (self._give_up() if reserved else self._charge(0))
            raise
        ctx.tell_panel("up")
        return self._stream

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            self.asking.answer = answer = self._stream.answer if self._stream else None
            used = answer.usage if answer else Usage(self.built.prompt_tokens)
            await self._charge(used.prompt_tokens + used.completion_tokens)
        if answer is not None:
            self._keep(
                answer.outcome,
                answer.text,
                model=answer.model,
                prompt_tokens=answer.usage.prompt_tokens,
                completion_tokens=answer.usage.completion_tokens,
                counted_by=answer.counted_by,
                first_token_ms=answer.first_token_ms,
                total_ms=answer.total_ms,
            )

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

    async def _give_up(self) -> None:
        """Left before its first word: the gateway may have the prompt by now, and bill it, so a cap must count it."""
        await self._charge(self.built.prompt_tokens)
        self._keep(
            "incomplete",
            "",
            model=self.inference.model,
            prompt_tokens=self.built.prompt_tokens,
            completion_tokens=0,
            counted_by=vocabulary_of(self.inference.model).counted_by,
            first_token_ms=None,
        )

    def _keep(self, outcome: Outcome, text: str, **figures: str | float | None) -> None:
        ctx, key, figures = self.asking.ctx, self.inference.key, {**figures, "dropped_turns": self.built.dropped}
        fields = {"prompt": self.asking.prompt, "text_sha256": digest(text), **figures}
        ctx.keep(ctx.record(key, "inference", outcome, fields))
        ctx.services.journal.note("answered", key=key, conversation=ctx.event.conversation, outcome=outcome, **figures)


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, also when we are cancelled meanwhile; only then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
