"""The LLM gateway: tries, fallbacks, and one pool of connections.

A call is tried again only before its first text, and every try of a model carries the same Idempotency-Key, so that a
gateway that keeps keys bills it once. A fallback model is another body, so its key is another: `key:model`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs
from attrs import define, field
from yarl import URL

from bridge.core.breaker import Breaker
from bridge.core.chat import dump_request, header_key
from bridge.core.retry import GATEWAY_WAITS, Policy, delay
from bridge.core.tokens import vocabulary_of
from bridge.errors import ConfigError, GatewayError
from bridge.io.gateway_answer import GatewayAnswer
from bridge.io.gateway_source import OneShot
from bridge.ports import Clock, Gateway, Inference
from bridge.settings import GatewaySettings

log = logging.getLogger(__name__)

FRAME_LIMIT = 2 * 2**20
"""Bytes of one frame, against a gateway that never ends it."""


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings, *, clock: Clock, random: Callable[[], float], frame_limit: int = FRAME_LIMIT
) -> AsyncIterator[Gateway]:
    """The gateway of the settings. `random` in [0, 1) spreads the tries. Raises ConfigError for a url that is none."""
    url = _url(settings)
    if settings.key is not None and not (settings.key.show().isascii() and settings.key.show().isprintable()):
        raise ConfigError([f"gateway.key: {settings.key.origin} holds characters that no header can carry"])
    connector = TCPConnector(limit=0)  # how many calls run at once is the caller's to bound
    timeout = ClientTimeout(total=None, connect=settings.timeouts.connect)
    async with ClientSession(
        connector=connector, timeout=timeout, cookie_jar=DummyCookieJar(), trust_env=False
    ) as session:
        yield HttpGateway(settings, url, session, clock, random, frame_limit)


@define
class HttpGateway:
    """Implements `ports.Gateway`."""

    settings: GatewaySettings
    url: str
    session: ClientSession
    clock: Clock
    random: Callable[[], float]
    frame_limit: int
    _breakers: defaultdict[str, Breaker] = field(init=False, factory=lambda: defaultdict(Breaker))

    @asynccontextmanager
    async def open_answer(self, inference: Inference) -> AsyncIterator[GatewayAnswer]:
        """Start a call: the model, then its fallbacks. Raises GatewayError when none gave a first text."""
        stream = await self._start(inference)
        try:
            yield stream
        finally:
            await stream.close()
            self._judge(stream)

    async def _start(self, inference: Inference) -> GatewayAnswer:
        began = self.clock.monotonic()
        failure = None
        for model in dict.fromkeys((inference.model, *(inference.fallback or self.settings.fallback))):
            try:
                return await self._start_model(inference, model, began)
            except GatewayError as error:
                if not error.retryable:
                    raise
                failure = failure or error
        assert failure is not None, "a loop over at least one model"
        raise failure

    async def _start_model(self, inference: Inference, model: str, began: float) -> GatewayAnswer:
        """Try until there is a first text. Raises the last GatewayError once the tries or the time are used up."""
        policy = Policy(GATEWAY_WAITS, self.settings.tries, self.settings.timeouts.total)
        breaker, failures, failure = self._breakers[model], 0, None
        while breaker.admit(self.clock.monotonic()):
            try:
                return await self._try(inference, model, began)
            except GatewayError as error:
                failure, failures = error, failures + 1
            age = self.clock.monotonic() - began
            wait = delay(failures, policy, self.random(), retry_after=failure.retry_after, age=age)
            self._note_failure(model, failure, failures)
            if wait is None or not failure.retryable:
                raise failure
            await self.clock.sleep(wait)
        pause = breaker.wait(self.clock.monotonic())
        raise failure or GatewayError(f"{model}: is left alone for {pause:.1f} s after failures", retry_after=pause)

    async def _try(self, inference: Inference, model: str, began: float) -> GatewayAnswer:
        """One POST, up to the first text."""
        source = OneShot(
            self.session,
            self.url,
            dump_request(
                model,
                ((message.role, message.content.text) for message in inference.messages),
                max_tokens=inference.max_tokens,
                temperature=inference.temperature,
            ),
            self._headers(inference.key if model == inference.model else f"{inference.key}:{model}"),
            limit=self.frame_limit,
        )
        stream = GatewayAnswer(
            source,
            inference,
            model,
            vocabulary_of(model),
            self.clock,
            self.settings.timeouts,
            began,
            self.frame_limit,
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(stream.abandon)
            await stream.begin()
            stack.pop_all()
        return stream

    def _headers(self, key: str) -> dict[str, str]:
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            "Idempotency-Key": header_key(key),
            "X-Request-Format": "strict",
        }
        if self.settings.key is not None:
            headers[hdrs.AUTHORIZATION] = f"Bearer {self.settings.key.show()}"
        return headers

    def _note_failure(self, model: str, error: GatewayError, failures: int) -> None:
        """A gateway that says no works: only silence and 5xx count against it."""
        self._count(model, failed=error.retryable and (error.status is None or error.status >= 500))
        told = {"action": "gateway_failed", "model": model, "tries": failures, "error": error.detail}
        log.warning("a try of the gateway failed", extra=told)

    def _judge(self, stream: GatewayAnswer) -> None:
        """A stream that broke counts as a failure of its model; one that we left, or that ended, does not."""
        self._count(stream.model, failed=stream.broke)
        if stream.malformed:
            told = {"action": "malformed_frames", "model": stream.model, "frames": stream.malformed}
            log.warning("frames of the gateway were no JSON", extra=told)

    def _count(self, model: str, *, failed: bool) -> None:
        if failed:
            self._breakers[model].failed(self.clock.monotonic())
        else:
            self._breakers[model].succeeded()


def _url(settings: GatewaySettings) -> str:
    url = settings.url.rstrip("/") + settings.path
    try:
        usable = URL(url).scheme in {"http", "https"} and URL(url).host
    except ValueError:
        usable = None
    if not usable:
        raise ConfigError([f"gateway.url: {settings.url!r} is no address; write http://host:port or https://host"])
    return url
