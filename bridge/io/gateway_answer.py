"""One answer of the gateway, from its POST to its last piece.

Until the first text everything that goes wrong is a GatewayError, and may be tried again. After it nothing is posted
again: a break is an outcome. A finish_reason or [DONE] makes an answer whole; a stream that just ends is not.
"""

from __future__ import annotations

from functools import partial

from aiohttp import ClientError, hdrs
from attrs import define, field

from bridge.core.budget import OutputMeter
from bridge.core.chat import Reading
from bridge.core.faults import Fault, describe, refusal
from bridge.core.retry import parse_retry_after
from bridge.core.sse import FrameTooLarge, ServerEvent
from bridge.core.tokens import Vocabulary, message_tokens
from bridge.errors import GatewayError
from bridge.io.gateway_source import OneShot, Watch
from bridge.ports import Answer, Clock, CountedBy, Inference, Outcome, Usage
from bridge.settings import Timeouts

LONGEST_REFUSAL = 65_536
"""Bytes of an error's body that are read."""
AFTER_FINISH = 2.0
"""Seconds that usage and [DONE] may take after the finish_reason, when the text is complete."""
DRAIN_SECONDS, DRAIN_BYTES = 0.5, 65_536
"""How long and how far an answer is read on after [DONE], so that the connection can be used again."""


@define
class GatewayAnswer:
    """Implements `ports.AnswerStream`. `began`: when the caller asked, before all tries; `limit`: bytes of a frame."""

    source: OneShot
    inference: Inference
    model: str
    vocabulary: Vocabulary
    clock: Clock
    timeouts: Timeouts
    began: float
    limit: int
    answer: Answer | None = None
    broke: bool = field(init=False, default=False)
    """Whether the gateway's side ended the answer before its end."""
    _watch: Watch = field(init=False)
    _meter: OutputMeter = field(init=False)
    _reading: Reading = field(init=False, factory=Reading)
    _said: list[str] = field(init=False, factory=list, repr=False)
    _first: str = field(init=False, default="", repr=False)
    _first_at: float | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._watch = Watch(self.clock)
        self._meter = OutputMeter(self.vocabulary, self.inference.max_tokens)

    # --- for the gateway

    @property
    def malformed(self) -> int:
        """Frames that were passed over."""
        return self._reading.malformed

    async def begin(self) -> None:
        """Post, and read as far as the first text. Raises GatewayError."""
        due = min(self.clock.monotonic() + self.timeouts.first_token, self._end)
        try:
            await self._watch.within(due, self.source.connect)
        except ClientError as error:
            raise self._broken(f"no answer from {self.source.url.origin()} ({_name(error)})") from None
        except TimeoutError as error:
            raise self._broken(self._why(error)) from None
        if self.source.response.status // 100 != 2:
            raise await self._refusal(due)
        if self.source.response.content_type != "text/event-stream":
            await self._take_whole(due)
        if not self._first and self.answer is None:
            self._first = await self._read(due)

    async def abandon(self) -> None:
        """Leave: what the gateway still sends is not waited for."""
        self._watch.close()
        await self.source.close()

    async def close(self) -> None:
        """Leave for good. An answer that has not come to its end is incomplete."""
        await self.abandon()
        if self.answer is None:
            self._conclude("incomplete", "left before its end")

    # --- ports.AnswerStream

    def __aiter__(self) -> GatewayAnswer:
        return self

    async def __anext__(self) -> str:
        """The next piece of text."""
        piece, self._first = self._first, ""
        if not piece and self.answer is None:
            try:
                piece = await self._read(min(self.clock.monotonic() + self.timeouts.between_tokens, self._end))
            except GatewayError as broken:
                self.broke = True
                await self.abandon()
                self._conclude("incomplete", broken.detail)
        if not piece:
            raise StopAsyncIteration
        return piece

    # --- reading

    @property
    def _end(self) -> float:
        return self.began + self.timeouts.total

    async def _read(self, due: float) -> str:
        """The next text that the budget lets through; "" when the answer is over. Raises GatewayError if it breaks."""
        while not self._reading.done:
            event = await self._event(due)
            if event is None:
                break
            text = self._reading.take(event.event, event.data)
            if self._reading.fault:
                raise self._faulty(self._reading.fault)
            if text:
                return await self._keep(text)
        await self._finish()
        return ""

    async def _keep(self, text: str) -> str:
        """As much of the text as the budget lets through. At its limit the answer is over, and the gateway is left."""
        kept, cut = self._meter.feed(text)
        if kept:
            self._first_at = self.clock.monotonic() if self._first_at is None else self._first_at
            self._said.append(kept)
        if cut:
            await self.abandon()
            self._conclude("cut")
        return kept

    async def _event(self, due: float) -> ServerEvent | None:
        """The next event, None at the end. Of a whole answer, no break of the connection takes anything away."""
        if (event := self.source.arrived()) is not None:
            return event
        if self._reading.finished:
            due = min(due, self.clock.monotonic() + AFTER_FINISH)
        try:
            self._watch.begin(due, self.source.expire)
            return await self.source.event()
        except (ClientError, FrameTooLarge, TimeoutError) as error:
            if self._reading.finished:
                return None
            raise self._broken(self._why(error)) from None  # its cause may quote the answer
        finally:
            self._watch.end()

    def _why(self, error: Exception) -> str:
        if isinstance(error, FrameTooLarge):
            return f"a frame is larger than {self.limit} bytes"
        if isinstance(error, ClientError):
            return f"the connection broke ({_name(error)})"
        if self.clock.monotonic() >= self._end:
            return f"not done within {self.timeouts.total:g} s"
        if self._first_at is None:
            return f"no first token within {self.timeouts.first_token:g} s"
        return f"no token for {self.timeouts.between_tokens:g} s"

    # --- ending

    async def _finish(self) -> None:
        """The gateway has no more to say. Raises GatewayError when that is no end."""
        if self._reading.filtered:
            raise self._broken("the gateway's content filter ended the answer", retryable=False)
        if not self._reading.finished:
            raise self._broken("the stream ended without [DONE] or finish_reason")
        self._conclude("cut" if self._reading.finish_reason == "length" else "complete")
        await self._drain()

    async def _drain(self) -> None:
        """Read on to the end of the response: only then the connection can be used again."""
        due, content = self.clock.monotonic() + DRAIN_SECONDS, self.source.response.content
        most = content.total_bytes + DRAIN_BYTES
        try:
            while not content.at_eof() and content.total_bytes < most:
                await self._watch.within(due, content.readany)
        except (ClientError, TimeoutError):
            await self.source.close()

    def _conclude(self, outcome: Outcome, error: str = "") -> None:
        usage, counted_by = self._usage()
        self.answer = Answer(
            text="".join(self._said),
            outcome=outcome,
            model=self.model,
            usage=usage,
            counted_by=counted_by,
            first_token_ms=None if self._first_at is None else (self._first_at - self.began) * 1000,
            total_ms=(self.clock.monotonic() - self.began) * 1000,
            error=error,
        )

    def _usage(self) -> tuple[Usage, CountedBy]:
        if self._reading.usage:
            return Usage(*self._reading.usage), "gateway"
        said = ((message.role, message.content.text) for message in self.inference.messages)
        return Usage(message_tokens(self.vocabulary, said), self._meter.tokens), self.vocabulary.counted_by

    # --- what is not a stream

    async def _take_whole(self, due: float) -> None:
        """An answer in one piece, from a gateway that does not stream."""
        kind = self.source.response.content_type
        if kind != "application/json":
            raise self._broken(
                f"the answer is {kind[:40]}, not text/event-stream or application/json; check [gateway] url and path",
                retryable=False,
            )
        text = self._reading.take("message", await self._body(self.limit, due))
        if self._reading.fault:
            raise self._faulty(self._reading.fault)
        if self._reading.malformed:
            raise self._broken("the answer is not the JSON of a chat completion")
        self._reading.done = True
        self._first = await self._keep(text) if text else ""

    async def _refusal(self, due: float) -> GatewayError:
        response = self.source.response
        wait = parse_retry_after(response.headers.get(hdrs.RETRY_AFTER), self.clock.now_ms() / 1000)
        body = await self._body(LONGEST_REFUSAL, due)
        return refusal(self.model, response.status, body, self._ours(), retry_after=wait)

    async def _body(self, limit: int, due: float) -> bytes:
        """At most `limit` bytes of the body; what came of it before it broke off."""
        try:
            return await self._watch.within(due, partial(self.source.read_whole, limit))
        except (ClientError, TimeoutError):
            return b""

    def _faulty(self, fault: Fault) -> GatewayError:
        told = describe(fault, self._ours())
        return self._broken(f"the gateway reports {told or 'an error'}", retryable=fault.passing, status=fault.status)

    def _broken(self, why: str, *, retryable: bool = True, status: int | None = None) -> GatewayError:
        return GatewayError(f"{self.model}: {why}", retryable=retryable, status=status)

    def _ours(self) -> list[str]:
        """What an error of the gateway must not repeat."""
        return [message.content.text for message in self.inference.messages]


def _name(error: Exception) -> str:
    return type(error).__name__
