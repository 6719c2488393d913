"""The panel's stream and page, over a real socket; what the page makes of them is in tests/acceptance."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from attrs import define
from panel_parts import CALL, Bench, card, gateway, line
from yarl import URL

from bridge.core.sse import Parser, ServerEvent
from bridge.errors import ConfigError, RejectedError
from bridge.io.http import open_listener
from bridge.io.panel import make_panel
from bridge.io.panel.feeds import BEAT, RETRY, Feeds
from bridge.settings import Http


@define
class Served:
    """A panel behind our own listener."""

    bench: Bench
    feeds: Feeds
    url: str
    http: aiohttp.ClientSession

    def stream(self, last_event_id: str = "") -> Any:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        return self.http.get(f"{self.url}/panel/{CALL}/stream", headers=headers)


def everyone(_: web.Request, __: str) -> None:
    """All are admitted."""


@asynccontextmanager
async def open_panel(
    admit: Callable[[web.Request, str], None] = everyone, frame_ancestors: Sequence[str] = ()
) -> AsyncIterator[Served]:
    bench = Bench()
    panel = make_panel(bench.log.read, bench.bus, frame_ancestors=frame_ancestors, admit=admit, clock=bench.clock)
    app = web.Application()
    app.add_routes(panel)
    app.on_shutdown.append(panel.close)
    async with aiohttp.ClientSession() as http, open_listener(app, Http(host="127.0.0.1", port=0)) as port:
        yield Served(bench, panel._feeds, f"http://127.0.0.1:{port}", http)


async def events_of(answer: aiohttp.ClientResponse, count: int) -> list[ServerEvent]:
    parser, events = Parser(), list[ServerEvent]()
    while len(events) < count:
        events += parser.feed(await answer.content.readany())
    return events


@pytest.mark.parametrize("seen", range(1, 7))
async def test_a_stream_that_breaks_after_any_frame_goes_on_exactly_there(seen: int) -> None:
    messages = (card("It"), card("It left"), gateway("down"), gateway("up"), card("It left.", "ready"))
    async with open_panel() as served, served.stream() as steady:
        async with served.stream() as broken:
            first = await events_of(broken, 1)
            await events_of(steady, 1)
            for message in messages[: seen - 1]:
                served.bench.bus.publish(CALL, message)
                first += await events_of(broken, 1)
        for message in messages[seen - 1 :]:
            served.bench.bus.publish(CALL, message)
        async with served.stream(first[-1].id) as again:
            rest = await events_of(again, 6 - seen) if seen < 6 else []
        whole = await events_of(steady, 5)
    assert [event.id for event in first + rest][1:] == [event.id for event in whole]
    assert [event.data for event in first + rest][1:] == [event.data for event in whole]


async def test_an_unknown_place_in_the_stream_gets_everything_anew() -> None:
    async with open_panel() as served:
        served.bench.log.lines.append(line(1))
        async with served.stream() as first:
            await events_of(first, 1)
            served.bench.bus.publish(CALL, card("It"))
            await events_of(first, 1)
            async with served.stream("another-12") as answer:
                (event,) = await events_of(answer, 1)
    assert event.event == "reset"
    assert [one["text"] for one in json.loads(event.data)["lines"]] == ["Hello"]
    assert json.loads(event.data)["card"]["text"] == "It"


async def test_a_stream_says_what_it_is_and_when_to_come_back() -> None:
    async with open_panel() as served, served.stream() as answer:
        (event,) = await events_of(answer, 1)
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in answer.headers
    assert event.retry is None
    assert RETRY == b"retry: 1000\n\n"


async def test_a_browser_that_stops_reading_is_cut_off_and_delays_nobody() -> None:
    async with open_panel() as served, served.stream() as quick:
        await events_of(quick, 1)
        host, port = served.url.removeprefix("http://").split(":")
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stuck.connect((host, int(port)))
            stuck.sendall(f"GET /panel/{CALL}/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            for n in range(16):
                served.bench.bus.publish(CALL, card(f"{n}" + "x" * 500_000))
                await events_of(quick, 1)
            await served.bench.clock.advance(BEAT)
            await served.bench.clock.advance(BEAT)
            stuck.settimeout(5)
            last = b""
            while got := stuck.recv(1 << 20):
                last = (last + got)[-20:]
            assert not last.endswith(b"0\r\n\r\n")
            served.bench.bus.publish(CALL, card("small"))
            assert await events_of(quick, 1)


async def test_a_browser_that_leaves_is_forgotten_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with open_panel() as served, served.stream() as stays:
        async with served.stream() as leaves:
            await events_of(leaves, 1)
        await events_of(stays, 1)
        for n in range(50):
            served.bench.bus.publish(CALL, card("x" * (n + 1)))
            await events_of(stays, 1)
        (feed,) = served.feeds._kept.values()
        assert len(feed.views) == 1
    assert caplog.records == []


async def test_the_end_of_the_server_is_a_well_formed_end_of_the_stream() -> None:
    async with aiohttp.ClientSession() as http:
        async with open_panel() as served:
            answer = await http.get(f"{served.url}/panel/{CALL}/stream")
            await events_of(answer, 1)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 2
        assert await answer.content.read() == b""


CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)


@pytest.mark.parametrize(
    ("embedders", "ancestors"),
    [
        ((), "'self'"),
        (("https://apps.mypurecloud.com", "https://crm.example"), "https://apps.mypurecloud.com https://crm.example"),
    ],
)
async def test_the_page_may_load_nothing_foreign_and_be_embedded_where_the_settings_say(
    embedders: tuple[str, ...], ancestors: str
) -> None:
    async with open_panel(frame_ancestors=embedders) as served, served.http.get(f"{served.url}/panel/{CALL}") as page:
        assert page.status == 200
        assert page.headers["Content-Security-Policy"] == CSP + ancestors
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert "X-Frame-Options" not in page.headers
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "embedder", ["*; script-src *", "apps.example.com", "https://a.b https://c.d", "https://a\n", ""]
)
def test_what_is_no_origin_may_not_embed_the_page(embedder: str) -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match=r"panel\.frame_ancestors: .* is no origin like https://"):
        make_panel(bench.log.read, bench.bus, frame_ancestors=[embedder], admit=everyone, clock=bench.clock)


@pytest.mark.parametrize("conversation", ["%7B%7BgcConversationId%7D%7D", "a.b", "a" * 65, "%C3%A9", "a%0A", "a%2Fb"])
@pytest.mark.parametrize("part", ["", "/stream"])
async def test_what_is_no_conversation_id_is_a_problem_of_404(conversation: str, part: str) -> None:
    async with open_panel() as served:
        url = URL(f"{served.url}/panel/{conversation}{part}", encoded=True)
        async with served.http.get(url) as answer:
            assert answer.status == 404
            assert answer.content_type == "application/problem+json"
            assert json.loads(await answer.read())["code"] == "conversation"


@pytest.mark.parametrize("part", ["", "/stream"])
async def test_who_is_not_admitted_sees_neither_page_nor_stream(part: str) -> None:
    def nobody(_: web.Request, conversation: str) -> None:
        raise RejectedError(401, "session", f"no session for {conversation}")

    async with open_panel(nobody) as served, served.http.get(f"{served.url}/panel/{CALL}{part}") as answer:
        assert (answer.status, json.loads(await answer.read())["code"]) == (401, "session")
        assert served.bench.bus._listening == {}


@pytest.mark.parametrize(("name", "kind"), [("panel.js", "text/javascript"), ("panel.css", "text/css")])
async def test_the_page_s_two_files_are_served(name: str, kind: str) -> None:
    async with open_panel() as served, served.http.get(f"{served.url}/panel/static/{name}") as answer:
        assert (answer.status, answer.content_type) == (200, kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert await answer.read() == source(name).encode()


@pytest.mark.parametrize("name", ["page.html", "__init__.py", "..%2Flive.py", "panel.js.map"])
async def test_no_other_file_is_served(name: str) -> None:
    async with open_panel() as served, served.http.get(f"{served.url}/panel/static/{name}") as answer:
        assert answer.status == 404


async def test_only_get_opens_a_stream() -> None:
    async with open_panel() as served, served.http.head(f"{served.url}/panel/{CALL}/stream") as answer:
        assert answer.status == 405


# --- the page's own text


def source(name: str) -> str:
    return resources.files("bridge.io.panel").joinpath(name).read_text("utf-8")


def test_text_enters_the_page_by_text_content_only() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser"
    assert re.findall(forbidden, source("panel.js")) == []


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    page = source("page.html")
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?:", page) == []
