"""The webhook door and the listener it stands in.

Rules. The signature is checked on the bytes of the wire, before anything parses them. 202 is said only after `accept`
has returned, so what is acknowledged is stored. Every refusal is a problem document with a stable code, also those of
the web framework and for bytes that are no HTTP; none repeats what was sent, in the answer or in the log. Each buffer
and each wait has a limit, against senders that are slow or large on purpose.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import orjson
from aiohttp import StreamReader, web

from bridge.core.genesys import decode
from bridge.core.problem import Problem, problem_for, problem_of
from bridge.core.signature import verify_open_messaging, verify_standard, verify_token
from bridge.errors import RejectedError
from bridge.ports import Accept, Accepted, Clock
from bridge.settings import Http, Source

log = logging.getLogger(__name__)

Count = Callable[[str, str, float], None]
"""Told of every request: the source's name ("" for one we do not know), the code of the answer, seconds it took."""

Verify = Callable[[Sequence[tuple[bytes, bytes]], bytes], object]
"""Headers and body, as they came; raises SignatureError."""

IDLE = 75.0
"""Seconds a connection may stay without a whole request: also what a sender of one header byte a minute gets."""
LINGER = 2.0
"""Seconds we go on reading after a refusal, so that a sender still writing sees the answer and not a reset."""


def make_door(
    sources: Sequence[Source],
    accept: Accept,
    http: Http,
    clock: Clock,
    *,
    metrics: Count,
) -> list[web.AbstractRouteDef]:
    """POST /webhooks/{source}: 202 `{"id", "duplicate"}`, or a problem document of `_admit`, `decode` or `accept`."""
    verifiers = {source.name: _verifier(source, clock) for source in sources}

    async def receive(name: str, verify: Verify | None, request: web.Request) -> web.Response:
        began = clock.monotonic()
        try:
            accepted = await accept(decode(await _admit(request, verify, http)))
        except RejectedError as refusal:
            log.info("refused a webhook", extra={"action": "refused", "source": name, "code": refusal.code})
            metrics(name, refusal.code, clock.monotonic() - began)
            return _refuse(problem_of(refusal))
        metrics(name, "duplicate" if accepted.duplicate else "accepted", clock.monotonic() - began)
        return _acknowledge(accepted)

    # A route for each source is found at once; the pattern is only for those that nobody set, and counts without name.
    known = [web.post(f"/webhooks/{name}", partial(receive, name, verify)) for name, verify in verifiers.items()]
    return [*known, web.post("/webhooks/{source}", partial(receive, "", None))]


async def _admit(request: web.Request, verify: Verify | None, http: Http) -> bytes:
    """The body, once it is known who sent it. Cheapest check first; raises RejectedError."""
    if verify is None:
        raise RejectedError(404, "unknown_source", "no webhook source of this name is in the settings")
    _check_media(request)
    body = await _read(request, http)
    verify(request.raw_headers, body)
    return body


def _check_media(request: web.Request) -> None:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RejectedError(415, "media_type", "send the event as application/json or application/*+json")
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise RejectedError(415, "media_type", "send the body as it is, without a Content-Encoding")


async def _read(request: web.Request, http: Http) -> bytes:
    """The bytes of the wire, at most `max_body` of them, within `body_timeout`."""
    if (request.content_length or 0) > http.max_body:
        raise _too_large(http)
    try:
        if request.content.is_eof():  # all of it came with the headers, as most do: nothing to wait for
            body = request.content.read_nowait()
        else:
            async with asyncio.timeout(http.body_timeout):
                body = await _gather(request.content, http.max_body + 1)
    except TimeoutError:
        raise RejectedError(408, "timeout", f"the body did not arrive within {http.body_timeout:g} s") from None
    except (web.RequestPayloadError, ConnectionError):  # the first from the framework's parser in Python only
        raise RejectedError(400, "malformed", "the body broke off, or its chunks are malformed") from None
    if len(body) > http.max_body:
        raise _too_large(http)
    return body


def _too_large(http: Http) -> RejectedError:
    return RejectedError(413, "too_large", f"the body may hold at most {http.max_body} bytes")


async def _gather(stream: StreamReader, enough: int) -> bytes:
    body = bytearray()
    while len(body) < enough and (piece := await stream.readany()):
        body += piece
    return bytes(body)


def _verifier(source: Source, clock: Clock) -> Verify:
    secrets = [secret.show() for secret in source.secrets]
    match source.scheme:
        case "standard":
            return lambda headers, body: verify_standard(headers, body, secrets, clock.now_ms() / 1000)
        case "genesys_open_messaging":
            return lambda headers, body: verify_open_messaging(headers, body, secrets)
        case "token":
            return lambda headers, _: verify_token(headers, secrets, header=source.header)


def _acknowledge(accepted: Accepted) -> web.Response:
    body = orjson.dumps({"id": accepted.id, "duplicate": accepted.duplicate})
    return web.Response(status=202, body=body, content_type="application/json")


def _refuse(problem: Problem) -> web.Response:
    return web.Response(status=problem.status, headers=problem.headers(), body=problem.body())


def make_health(ready: Callable[[], Awaitable[str]]) -> list[web.AbstractRouteDef]:
    """GET /health/live and /health/ready.

    Live is 200 while the process answers. Ready is 200, or 503 with what `ready` says is wrong ("": nothing is).
    """

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def is_ready(_: web.Request) -> web.Response:
        if wrong := await ready():
            return _refuse(Problem(503, "not_ready", wrong, retry_after=1))
        return web.json_response({"status": "ready"})

    return [web.get("/health/live", live), web.get("/health/ready", is_ready)]


class Connection(web.RequestHandler):
    """One client's connection, where what the framework would say in plain text or HTML becomes a problem document.

    A middleware would miss bytes that are no HTTP, handlers that fail, and the `Expect` header: they end only here.
    """

    __slots__ = ()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; refusals that were raised as `HTTPException` (404, 405, 413, 417) in our form."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            plain, resp = resp, _refuse(problem_for(resp.status))
            resp.headers.update({name: plain.headers[name] for name in ("Allow",) if name in plain.headers})
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the framework's words repeat what was sent
    ) -> web.StreamResponse:
        """Answer bytes that are no HTTP (400), and a handler that failed: 503, for the sender shall try again."""
        if request.writer.output_size:
            raise ConnectionError("the answer broke off: a second one cannot follow")  # the framework hangs up
        if isinstance(exc, RejectedError):
            return _refuse(problem_of(exc))
        if status < 500:
            problem = Problem(status, "malformed", "this is no HTTP request, or its lines are too long")
        else:
            log.error("a request failed", extra={"action": "request_failed", "method": request.method}, exc_info=exc)
            problem = Problem(503, "internal", "something failed on our side: try again", retry_after=5)
        return _refuse(problem)


@asynccontextmanager
async def open_listener(app: web.Application, http: Http, *, shutdown: float = 5.0) -> AsyncIterator[int]:
    """Serve `app` on http.host and http.port (0: any that is free); gives the port.

    Leaving lets the requests that run end within `shutdown` seconds.
    """
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(app, shutdown_timeout=shutdown)
    await runner.setup()
    manager = runner.server
    assert manager is not None

    def connect() -> Connection:
        return Connection(
            manager,
            loop=loop,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # None is how the framework turns it off
            keepalive_timeout=IDLE,
            lingering_time=LINGER,
        )

    server = await loop.create_server(connect, http.host, http.port, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()
