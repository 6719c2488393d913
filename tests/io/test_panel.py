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
import orjson
import pytest
from aiohttp import web
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bridge.core.cleared import SEAL, Shown
from bridge.core.sse import KEEP_ALIVE, Parser, ServerEvent
from bridge.errors import RejectedError
from bridge.io.bus import LocalBus
from bridge.io.http import open_listener
from bridge.io.panel import PanelLine, make_panel
from bridge.io.panel.feeds import BEAT, KEEP, RELISTEN, RETRY, Feeds
from bridge.io.panel.live import Live
from bridge.settings import Http

CALL = "7f3b5a52-1f0e-4b8e-9f6c-0d4c8f6f2b11"


def line(seq: int, text: str = "Hello") -> PanelLine:
    return PanelLine(seq, f"event-{seq}", "customer", 1_000 * seq, Shown(text, seal=SEAL))


def card(text: str, state: str = "open", key: str = "a") -> bytes:
    return orjson.dumps({"type": "card", "card": key, "state": state, "text": text, "based_on": ["event-1"]})


def gateway(state: str) -> bytes:
    return orjson.dumps({"type": "gateway", "state": state, "detail": "refused"})


EVENT = b'{"type":"event"}'


@define
class HandClock:
    """A clock that a test moves."""

    now: float = 0.0
    _asleep: list[tuple[float, asyncio.Future[None]]] = field(init=False, factory=list)

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.get_running_loop().create_future()
        self._asleep.append((self.now + seconds, awake))
        await awake

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [awake for until, awake in self._asleep if until <= self.now and not awake.done()]
        self._asleep = [(until, awake) for until, awake in self._asleep if until > self.now]
        for awake in due:
            awake.set_result(None)
        await settle()


async def settle() -> None:
    """Let everything run that can run without a socket."""
    for _ in range(20):
        await asyncio.sleep(0)


@define
class Screen:
    """What a browser shows after the events it was told."""

    lines: dict[int, str] = field(factory=dict)
    card: dict[str, Any] | None = None
    reachable: bool = True

    def take(self, event: ServerEvent) -> None:
        told = json.loads(event.data)
        match event.event:
            case "reset":
                self.lines, self.card = {one["seq"]: one["text"] for one in told["lines"]}, told["card"]
                self.reachable = told["reachable"]
            case "lines":
                self.lines |= {one["seq"]: one["text"] for one in told}
            case "card":
                self.card = told
            case "more":
                assert self.card
                self.card = self.card | {"text": self.card["text"] + told}
            case "withdrawn":
                self.card = None
            case "model":
                self.reachable = told["reachable"]
            case other:
                pytest.fail(f"an event that the page does not know: {other}")


def screen(*blocks: bytes) -> Screen:
    shown = Screen()
    for event in Parser().feed(b"".join(blocks)):
        shown.take(event)
    return shown


def told(block: bytes) -> list[tuple[str, Any]]:
    return [(event.event, json.loads(event.data)) for event in Parser().feed(block)]


def live_with(lines: Sequence[PanelLine] = (), limit: int = 500) -> Live:
    live = Live(limit)
    live.show(lines)
    return live


# --- the state and the ring


def test_a_card_is_told_once_and_then_as_it_grows() -> None:
    live = live_with()
    for message in (card("It"), card("It left"), card("It left"), card("It left.", "ready")):
        live.take(message)
    whole = {"card": "a", "based_on": ["event-1"]}
    assert told(live.after(0) or b"") == [
        ("card", whole | {"state": "open", "text": "It"}),
        ("more", " left"),
        ("card", whole | {"state": "ready", "text": "It left."}),
    ]


@pytest.mark.parametrize("state", ["superseded", "expired", "withheld", "failed"])
def test_a_card_in_any_other_state_is_withdrawn(state: str) -> None:
    live = live_with()
    live.take(card("It"))
    live.take(card("", state))
    assert screen(live.after(0) or b"").card is screen(live.reset()).card is None


def test_a_newer_card_replaces_the_one_before_and_outlives_its_withdrawal() -> None:
    live = live_with()
    live.take(card("old", key="a"))
    live.take(card("new", key="b"))
    live.take(card("", "superseded", key="a"))
    shown = screen(live.after(0) or b"").card
    assert shown is not None
    assert (shown["card"], shown["text"]) == ("b", "new")


def test_the_detail_of_a_gateway_that_is_down_stays_inside() -> None:
    live = live_with()
    live.take(gateway("down"))
    live.take(gateway("down"))
    assert told(live.after(0) or b"") == [("model", {"reachable": False})]


def test_lines_are_told_once() -> None:
    live = live_with([line(1)])
    live.show([line(3), line(1)])
    live.show([line(3), line(1)])
    assert [[one["seq"] for one in lines] for _, lines in told(live.after(0) or b"")] == [[3]]
    assert screen(live.reset()).lines == {1: "Hello", 3: "Hello"}


keys = st.sampled_from(["type", "card", "state", "text", "based_on", "detail"])
words = st.sampled_from(["card", "event", "gateway", "open", "down"])
structures = st.recursive(
    st.none() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=10,
)


@given(st.binary() | structures.map(orjson.dumps))
def test_any_bytes_on_the_bus_leave_a_stream_that_can_be_told(message: bytes) -> None:
    live = live_with()
    live.take(message)
    screen(live.after(0) or b"", live.reset())


happenings = st.lists(
    st.one_of(
        st.builds(
            card,
            st.text("ab\n\r\u2028é", max_size=6),
            st.sampled_from(["open", "open", "ready", "superseded"]),
            st.sampled_from("ab"),
        ),
        st.sampled_from(["down", "up"]).map(gateway),
        st.integers(min_value=1, max_value=9).map(line),
        st.just(b"forget"),
    ),
    max_size=30,
)


def happen(live: Live, happening: bytes | PanelLine) -> None:
    if isinstance(happening, PanelLine):
        live.show([happening])
    elif happening == b"forget":
        live.forget()
    else:
        live.take(happening)


@given(happenings=happenings, limit=st.integers(min_value=2, max_value=8), cuts=st.sets(st.integers(0, 30)))
def test_whoever_comes_back_at_any_frame_has_seen_what_the_others_saw(
    happenings: list[bytes | PanelLine], limit: int, cuts: set[int]
) -> None:
    live = live_with([line(1)], limit)
    steady, seen, position = [live.reset()], [live.reset()], f"{live._name}-0"
    for n, happening in enumerate(happenings):
        before = live.last
        happen(live, happening)
        steady.append(live.after(before) or b"")
        if n in cuts:
            known = live.position(position)
            seen += [live.reset()] if known is None else [live.after(known) or b""]
            position = f"{live._name}-{live.last}"
    known = live.position(position)
    whole = screen(*seen, live.reset() if known is None else live.after(known) or b"")
    assert whole == screen(*steady) == screen(live.reset())
    if limit > live.last:
        assert b"".join(seen) + (live.after(known or 0) or b"") == b"".join(steady)


@pytest.mark.parametrize("foreign", ["", "1", "other-1", "{name}-", "{name}--1", "{name}-9", "{name}-" + "9" * 5000])
def test_an_id_that_is_not_ours_is_no_place_in_the_stream(foreign: str) -> None:
    live = live_with()
    live.take(card("It"))
    assert live.position(foreign.format(name=live._name)) is None
    assert live.position(f"{live._name}-1") == 1


def test_an_id_whose_followers_are_gone_is_no_place_in_the_stream() -> None:
    live = live_with(limit=2)
    for n in range(4):
        live.take(card("x" * (n + 1)))
    assert [live.position(f"{live._name}-{n}") for n in range(5)] == [None, None, 2, 3, 4]
    assert live.after(1) is None


# --- feeds and views


@define
class Log:
    """The lines of all conversations; `gate` holds readings up."""

    lines: list[PanelLine] = field(factory=list)
    readings: int = 0
    at_once: int = 0
    gate: asyncio.Event | None = None

    async def read(self, _: str) -> list[PanelLine]:
        self.readings += 1
        self.at_once += 1
        assert self.at_once == 1, "two readings at once"
        if self.gate:
            await self.gate.wait()
        self.at_once -= 1
        return list(self.lines)


@define
class Bench:
    """Feeds with everything they need at hand."""

    clock: HandClock = field(factory=HandClock)
    bus: LocalBus = field(factory=LocalBus)
    log: Log = field(factory=Log)
    limit: int = 2_000
    frames: int = 500
    feeds: Feeds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feeds = Feeds(self.log.read, self.bus, self.clock, self.limit, self.frames)


@asynccontextmanager
async def open_bench(**fields: Any) -> AsyncIterator[Bench]:
    bench = Bench(**fields)
    try:
        yield bench
    finally:
        await bench.feeds.close()


def not_cut() -> None:
    pytest.fail("cut off")


async def test_all_that_waits_is_one_block() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            assert await anext(blocks) == RETRY
            assert [event for event, _ in told(await anext(blocks))] == ["reset"]
            for n in range(50):
                bench.bus.publish(CALL, card("x" * (n + 1)))
            assert len(told(await anext(blocks))) == 50


async def test_a_view_that_the_ring_overtakes_ends_and_others_go_on() -> None:
    async with open_bench(frames=10) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as slow, bench.feeds.watch(CALL, "", not_cut) as quick:
            behind, along = aiter(slow), aiter(quick)
            for blocks in (behind, along):
                await anext(blocks)
                await anext(blocks)
            for n in range(11):
                bench.bus.publish(CALL, card("x" * (n + 1)))
                assert told(await anext(along))
            assert [block async for block in behind] == []


async def test_nudges_during_a_reading_are_one_more_reading() -> None:
    async with open_bench(log=Log(gate=asyncio.Event())) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            await settle()
            for n in range(1, 6):
                bench.log.lines.append(line(n))
                bench.bus.publish(CALL, EVENT)
                await settle()
            assert bench.log.readings == 1
            assert bench.log.gate
            bench.log.gate.set()
            await settle()
            assert bench.log.readings == 2
            blocks = aiter(view)
            assert screen(await anext(blocks), await anext(blocks)).lines.keys() == {1, 2, 3, 4, 5}


async def test_a_card_does_not_wait_for_a_slow_reading() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            bench.log.gate = asyncio.Event()
            bench.bus.publish(CALL, EVENT)
            bench.bus.publish(CALL, card("It"))
            assert [event for event, _ in told(await anext(blocks))] == ["card"]


async def test_a_quiet_stream_beats() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            await anext(blocks)
            for _ in range(5):
                await bench.clock.advance(BEAT)
                assert await anext(blocks) == KEEP_ALIVE


async def test_a_browser_that_takes_nothing_for_a_whole_beat_is_cut_off() -> None:
    cut: list[str] = []
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", lambda: cut.append("now")) as view:
            await anext(aiter(view))
            await settle()
            await bench.clock.advance(BEAT)
            assert cut == []
            await bench.clock.advance(BEAT)
            assert cut == ["now"]


async def test_a_feed_is_kept_for_a_while_after_the_last_viewer_left() -> None:
    async with open_bench() as bench:
        with bench.feeds.watch(CALL, "", not_cut):
            await settle()
        await bench.clock.advance(KEEP - 1)
        assert CALL in bench.bus._listening
        await bench.clock.advance(BEAT)
        await settle()
        assert bench.bus._listening == {}
        assert not bench.feeds._kept


async def test_the_least_recently_used_feed_makes_room_and_a_watched_one_never() -> None:
    async with open_bench(limit=2) as bench:
        with bench.feeds.watch("watched", "", not_cut):
            for conversation in ("one", "other"):
                with bench.feeds.watch(conversation, "", not_cut):
                    await settle()
            await settle()
            assert bench.bus._listening.keys() == {"watched", "other"}
            with (
                bench.feeds.watch("other", "", not_cut),
                pytest.raises(RejectedError) as refused,
                bench.feeds.watch("third", "", not_cut),
            ):
                pass
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "too_many_panels", 5)


async def test_a_bus_that_cuts_us_off_costs_the_card_and_no_line() -> None:
    async with open_bench(bus=LocalBus(limit=1)) as bench:
        with bench.feeds.watch(CALL, "", not_cut) as view:
            blocks = aiter(view)
            await anext(blocks)
            seen = [await anext(blocks)]
            bench.bus.publish(CALL, card("It"))
            seen.append(await anext(blocks))
            for _ in range(3):
                bench.bus.publish(CALL, EVENT)
            seen.append(await anext(blocks))
            assert screen(*seen).card is None
            bench.log.lines.append(line(1))
            await bench.clock.advance(RELISTEN)
            bench.bus.publish(CALL, card("It left"))
            await settle()
            seen.append(await anext(blocks))
    shown = screen(*seen)
    assert shown.lines == {1: "Hello"}
    assert shown.card is not None
    assert shown.card["text"] == "It left"


async def test_a_reading_that_fails_ends_the_stream_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def read(_: str) -> list[PanelLine]:
        raise OSError("the disk is gone")

    feeds = Feeds(read, LocalBus(), HandClock())
    with feeds.watch(CALL, "", not_cut) as view:
        assert [block async for block in view] == [RETRY]
    assert not feeds._kept
    assert [record.__dict__["action"] for record in caplog.records] == ["panel_failed"]


# --- over a socket


@define
class Served:
    """A panel behind our own listener."""

    bench: Bench
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
        yield Served(bench, f"http://127.0.0.1:{port}", http)


async def events_of(answer: aiohttp.ClientResponse, count: int) -> list[ServerEvent]:
    parser, events = Parser(), list[ServerEvent]()
    while len(events) < count:
        events += parser.feed(await answer.content.readany())
    return events


@pytest.mark.parametrize("seen", range(1, 7))
async def test_a_stream_that_breaks_after_any_frame_goes_on_exactly_there(seen: int) -> None:
    told = (card("It"), card("It left"), gateway("down"), gateway("up"), card("It left.", "ready"))
    async with open_panel() as served, served.stream() as steady:
        async with served.stream() as broken:
            first = await events_of(broken, 1)
            await events_of(steady, 1)
            for message in told[: seen - 1]:
                served.bench.bus.publish(CALL, message)
                first += await events_of(broken, 1)
        for message in told[seen - 1 :]:
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
        with socket.create_connection((host, int(port))) as stuck:
            stuck.sendall(f"GET /panel/{CALL}/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            for n in range(40):
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
