"""The agent's page: `/panel/{conversation}`, what it is made of, and the stream that feeds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources

from aiohttp import web

from bridge.checks import ORIGIN
from bridge.errors import ConfigError, RejectedError
from bridge.io.panel.feeds import Feeds, Read
from bridge.io.panel.live import PanelLine
from bridge.ports import Bus, Clock

__all__ = ["Admit", "Panel", "PanelLine", "Read", "make_panel"]

Admit = Callable[[web.Request, str], None]
"""Whether this request may see that conversation; raises RejectedError 401 or 403."""

CONVERSATION = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""A UUID, or an id of a recording. A `{{placeholder}}` that the agent desktop left in the address is none."""

STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
NEVER_KEPT = {"Cache-Control": "no-store"}
GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Panel(list[web.AbstractRouteDef]):
    """The panel's routes. Append `close` to the app's `on_shutdown`, or open streams hold the shutdown up."""

    def __init__(self, routes: Sequence[web.AbstractRouteDef], feeds: Feeds) -> None:
        super().__init__(routes)
        self._feeds = feeds

    async def close(self, _: web.Application | None = None) -> None:
        """End all streams well-formed."""
        await self._feeds.close()


def make_panel(
    read: Read,
    bus: Bus,
    *,
    frame_ancestors: Sequence[str],
    admit: Admit,
    clock: Clock,
) -> Panel:
    """GET /panel/{conversation}, its /stream, and /panel/static: see `Panel`.

    `frame_ancestors`: origins that may embed the page, our own when there are none. Raises ConfigError for what is
    no origin.
    """
    feeds = Feeds(read, bus, clock)
    guards = {**GUARDS, "Content-Security-Policy": _policy(frame_ancestors)}
    page = _file("page.html")

    async def show(request: web.Request) -> web.Response:
        _admitted(request, admit)
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=guards | NEVER_KEPT)

    async def stream(request: web.Request) -> web.StreamResponse:
        conversation = _admitted(request, admit)
        seen = request.headers.get("Last-Event-ID", "")
        with feeds.watch(conversation, seen, partial(_cut, request)) as view:
            response = web.StreamResponse(headers=STREAM | GUARDS)
            await response.prepare(request)
            async for block in view:
                await response.write(block)
        return response

    static = [_static(name, kind) for name, kind in (("panel.js", "text/javascript"), ("panel.css", "text/css"))]
    page_path = "/panel/{conversation:[^/]+}"
    routes = [*static, web.get(page_path, show), web.get(f"{page_path}/stream", stream, allow_head=False)]
    return Panel(routes, feeds)


def _policy(frame_ancestors: Sequence[str]) -> str:
    """The page's Content-Security-Policy: its own two files and its own stream, nothing else."""
    wrong = [embedder for embedder in frame_ancestors if not ORIGIN.fullmatch(embedder)]
    if wrong:
        raise ConfigError(
            [f"panel.frame_ancestors: {one!r} is no origin like https://apps.example.com" for one in wrong]
        )
    embedders = " ".join(frame_ancestors) or "'self'"
    own = "script-src 'self'; style-src 'self'; connect-src 'self'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'; frame-ancestors {embedders}"


def _admitted(request: web.Request, admit: Admit) -> str:
    """The conversation that is asked for, once it is known that the asker may see it."""
    conversation = request.match_info["conversation"]
    if not CONVERSATION.fullmatch(conversation):
        raise RejectedError(404, "conversation", "a conversation's id is a UUID, or 1 to 64 of A-Z a-z 0-9 _ -")
    admit(request, conversation)
    return conversation


def _cut(request: web.Request) -> None:
    """Drop the connection, with what is still on its way."""
    if request.transport is not None:
        request.transport.abort()


def _static(name: str, kind: str) -> web.RouteDef:
    body = _file(name)

    async def send(_: web.Request) -> web.Response:
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers=GUARDS | {"Cache-Control": "no-cache"}
        )

    return web.get(f"/panel/static/{name}", send)


def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()
