"""An LLM gateway of the OpenAI-compatible kind, strict and repeatable, on a port of its own.

It refuses what the real service refuses, with its error object, and keeps a ledger of every Idempotency-Key, so that a
demo or a test can show that nothing was billed twice. Serve it with `AppRunner(app, handler_cancellation=True)`: then
a stream that stalls ends when its reader leaves.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Literal

import orjson
from aiohttp import ClientConnectionResetError, hdrs, web
from attrs import define, evolve, field, frozen

from bridge.core.chat import DONE
from bridge.core.tokens import StreamCounter, message_tokens, vocabulary_of
from bridge.sim.gateway_answers import answer
from bridge.sim.gateway_requests import Asked, Refused, check_key, check_media, parse_request

_PIECE = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
_FOREVER = 86_400.0


@frozen(kw_only=True)
class Faults:
    """What goes wrong. `…_after`: so many pieces still came. `models`: only their calls suffer; empty, all do.

    `refuse`: so many calls since the sim's start are answered `status` (with `retry_after`, when set). `stall_first`:
    so many never get a first token.
    """

    models: tuple[str, ...] = ()
    refuse: int = 0
    status: int = 429
    retry_after: str = ""
    redirect: str = ""
    stall_first: int = 0
    stall_after: int | None = None
    break_after: int | None = None
    error_after: int | None = None
    malformed_after: int | None = None
    huge_after: int | None = None
    huge: int = 3_000_000
    no_done: bool = False
    no_finish: bool = False
    no_usage: bool = False
    ignore_max_tokens: bool = False


@frozen
class SimInference:
    """One Idempotency-Key: how often it was posted, and how often tokens were streamed (and billed) for it."""

    key: str
    model: str
    tries: int = 1
    billed: int = 0


@define(kw_only=True)
class SimGateway:
    """How it answers, and what it was asked.

    `key`: the bearer token it wants, "" for any. `first_token` in seconds; `tokens_per_second` 0: as fast as it can.
    `text`: said instead of an answer made from the prompt.
    """

    key: str = ""
    models: tuple[str, ...] = ("gpt-4o-mini", "gpt-4o", "claude-3-sonnet")
    first_token: float = 0.0
    tokens_per_second: float = 0.0
    cut: Literal["whole", "bytes", "random"] = "whole"
    seed: int = 0
    text: str = ""
    faults: Faults = Faults()
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    posts: int = field(init=False, default=0)
    _ledger: dict[str, SimInference] = field(init=False, factory=dict)
    _bodies: dict[str, bytes] = field(init=False, factory=dict)

    @property
    def inferences(self) -> list[SimInference]:
        """Every key, in the order they came first."""
        return list(self._ledger.values())

    @property
    def billed(self) -> int:
        """Streams that were begun. More than there are inferences: something was billed twice."""
        return sum(one.billed for one in self._ledger.values())

    def note(self, asked: Asked) -> None:
        """Count a post. Raises Refused when its key came before with another body."""
        known = self._ledger.get(asked.key)
        if known is not None and self._bodies[asked.key] != asked.body:
            raise Refused(422, "This Idempotency-Key was used with another body.", code="idempotency_key_reused")
        self._bodies[asked.key] = asked.body
        self._ledger[asked.key] = (
            evolve(known, tries=known.tries + 1) if known else SimInference(asked.key, asked.model)
        )

    def bill(self, asked: Asked) -> None:
        """Count a stream that begins."""
        known = self._ledger[asked.key]
        self._ledger[asked.key] = evolve(known, billed=known.billed + 1)

    def faults_of(self, model: str) -> Faults:
        """The faults that a call of this model meets."""
        return self.faults if not self.faults.models or model in self.faults.models else Faults()


def make_gateway(sim: SimGateway) -> web.Application:
    """POST /v1/chat/completions and /v1/inference, GET /v1/models."""

    async def infer(request: web.Request) -> web.StreamResponse:
        return await _infer(sim, request)

    async def list_models(request: web.Request) -> web.Response:
        check_key(request, sim.key)
        listed = [{"id": model, "object": "model", "created": 0, "owned_by": "sim"} for model in sim.models]
        return web.json_response({"object": "list", "data": listed})

    app = web.Application(middlewares=[_refusals], client_max_size=8 * 2**20)
    app.add_routes(
        [
            web.post("/v1/chat/completions", infer),
            web.post("/v1/inference", infer),
            web.get("/v1/models", list_models),
        ]
    )
    return app


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every refusal, the web framework's too, is an error object."""
    try:
        response: web.StreamResponse = await handler(request)
    except Refused as refused:
        return refused.response()
    except web.HTTPException as error:
        where = f"({request.method} {request.path})"
        misplaced = Refused(error.status, f"{error.reason} {where}", code="unknown_url")
        return misplaced.response(Allow=error.headers.get("Allow"), Location=error.headers.get("Location"))
    return response


async def _infer(sim: SimGateway, request: web.Request) -> web.StreamResponse:
    sim.posts += 1
    check_key(request, sim.key)
    check_media(request)
    asked = parse_request(await request.read(), request.headers.get("Idempotency-Key", f"none-{sim.posts}"), sim.models)
    sim.note(asked)
    faults = sim.faults_of(asked.model)
    if faults.redirect:
        raise web.HTTPTemporaryRedirect(faults.redirect)
    if sim.posts <= faults.refuse:
        raise Refused(
            faults.status, "The simulator was told to refuse.", kind="sim_error", retry_after=faults.retry_after
        )
    await sim.sleep(_FOREVER if sim.posts <= faults.stall_first else sim.first_token)
    sim.bill(asked)
    writing = Writing(sim, asked, faults)
    if not asked.stream:
        return web.json_response(writing.whole())
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-cache"})
    await response.prepare(request)
    try:
        async for chunk in writing.chunks():
            await response.write(chunk)
    except ClientConnectionResetError:
        return response  # the reader has left
    except Broken:
        if request.transport is not None:
            request.transport.close()
    return response


class Broken(Exception):  # noqa: N818 - no error: the break that was asked for
    """The connection is to break off here."""


@define
class Writing:
    """One answer on its way out."""

    sim: SimGateway
    asked: Asked
    faults: Faults
    _finish: str = field(init=False, default="stop")
    _counter: StreamCounter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counter = StreamCounter(vocabulary_of(self.asked.model))

    def whole(self) -> dict[str, Any]:
        """The answer that is not streamed."""
        text = "".join(self._pieces())
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The stream's bytes, cut as wished, at the speed that is wished."""
        chance = random.Random(self.sim.seed)  # noqa: S311 - cuts are no secret
        async for frame in self._frames():
            for chunk in _cut(frame, self.sim.cut, chance):
                yield chunk

    async def _frames(self) -> AsyncIterator[bytes]:
        yield self._delta({"role": "assistant", "content": ""})
        for n, piece in enumerate(self._pieces()):
            async for fault in self._fault(n):
                yield fault
            yield self._delta({"content": piece})
            if self.sim.tokens_per_second:
                await self.sim.sleep(1 / self.sim.tokens_per_second)
        if not self.faults.no_finish:
            yield self._delta({}, self._finish)
        if self.asked.include_usage and not self.faults.no_usage:
            yield _frame({**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()})
        if not self.faults.no_done:
            yield f"data: {DONE}\n\n".encode()

    async def _fault(self, n: int) -> AsyncIterator[bytes]:
        """What goes wrong before piece `n`. Raises Broken."""
        if n == self.faults.malformed_after:
            yield b'data: {"choices": [{"delta"\n\n'
        if n == self.faults.huge_after:
            yield self._delta({"content": "x" * self.faults.huge})
        if n == self.faults.error_after:
            yield _frame({"error": {"message": "The model broke down.", "type": "server_error", "code": "overloaded"}})
            raise Broken
        if n == self.faults.break_after:
            raise Broken
        if n == self.faults.stall_after:
            await self.sim.sleep(_FOREVER)

    def _pieces(self) -> Iterator[str]:
        """The words, as far as max_tokens reaches."""
        text = self.sim.text or answer(self.asked.system, self.asked.user)
        for piece in _PIECE.findall(text):
            if not self.faults.ignore_max_tokens:
                kept = self._counter.cut(piece, self.asked.max_tokens)
                if kept != piece:
                    self._finish = "length"
                    if kept:
                        self._counter.feed(kept)
                        yield kept
                    return
            self._counter.feed(piece)
            yield piece

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.asked.key}", "object": kind, "created": 0, "model": self.asked.model}

    def _delta(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _frame({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _usage(self) -> dict[str, int]:
        prompt = message_tokens(vocabulary_of(self.asked.model), self.asked.messages)
        said = self._counter.tokens
        return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _frame(payload: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def _cut(frame: bytes, cut: str, chance: random.Random) -> Iterator[bytes]:
    """The frame whole, byte by byte, or at chance's will."""
    at = 0
    while at < len(frame):
        step = {"whole": len(frame), "bytes": 1}.get(cut) or chance.randint(1, 24)
        yield frame[at : at + step]
        at += step
