"""The agent's page in a real browser: Chromium, spoken to over its remote debugging port."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from attrs import define, field

from bridge.core.events import Speaker
from bridge.core.masking.cleared import SEAL, Shown
from bridge.errors import RejectedError
from bridge.io.bus import LocalBus
from bridge.io.clock import MachineClock
from bridge.io.http import open_listener
from bridge.io.panel import PanelLine, make_panel
from bridge.settings import Http

CHROMIUM = Path("/usr/bin/chromium")
# A browser needs a second or two to start, and paints when it wants.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs a browser at {CHROMIUM} (Debian: chromium)"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "about:blank",
)
PATIENCE = 20.0


@define
class Page:
    """One tab. `problems` holds what its console and its security policy complained of."""

    _socket: aiohttp.ClientWebSocketResponse
    problems: list[str] = field(init=False, factory=list)
    _asked: int = field(init=False, default=0)
    _loaded: bool = field(init=False, default=False)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        while (told := await self._hear()).get("id") != self._asked:
            pass
        assert "error" not in told, told
        return told["result"]  # type: ignore[no-any-return]

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.bringToFront")
        self._loaded = False
        await self.call("Page.navigate", url=url)
        while not self._loaded:
            await self._hear()

    async def _hear(self) -> dict[str, Any]:
        told: dict[str, Any] = await self._socket.receive_json(timeout=PATIENCE)
        match told:
            case {"method": "Page.loadEventFired"}:
                self._loaded = True
            case {"method": "Log.entryAdded", "params": {"entry": {"source": "network"}}}:
                pass  # tests break the network on purpose
            case {"method": "Runtime.exceptionThrown" | "Log.entryAdded" | "Page.javascriptDialogOpening"}:
                self.problems.append(json.dumps(told["params"]))
        return told

    async def value(self, expression: str) -> Any:
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait, in the page, until it holds."""
        wait = f"""new Promise((done) => {{
            const look = () => (({expression}) ? done(true) : setTimeout(look, 10)); look(); }})"""
        told = await asyncio.wait_for(
            self.call("Runtime.evaluate", expression=wait, awaitPromise=True, returnByValue=True), PATIENCE
        )
        assert told["result"].get("value") is True, told

    async def text(self, selector: str) -> str:
        return str(await self.value(f"document.querySelector({selector!r}).textContent"))

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])


@asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    """A new browser with that page in a tab."""
    home = tempfile.mkdtemp(prefix="panel-browser-")
    browser = await asyncio.create_subprocess_exec(
        str(CHROMIUM), *FLAGS, f"--user-data-dir={home}", stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        async with aiohttp.ClientSession() as http, http.ws_connect(await _tab(browser, http), max_msg_size=0) as tab:
            page = Page(tab)
            await page.open(url)
            yield page
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()
        shutil.rmtree(home, ignore_errors=True)


async def _tab(browser: asyncio.subprocess.Process, http: aiohttp.ClientSession) -> str:
    """The debugging address of a new tab; the browser tells its own on stderr."""
    assert browser.stderr
    async with asyncio.timeout(PATIENCE):
        while not (told := re.search(rb"listening on ws://([^/]+)/", await browser.stderr.readline())):
            assert browser.returncode is None, "the browser ended"
        async with http.put(f"http://{told[1].decode()}/json/new") as answer:
            return str((await answer.json())["webSocketDebuggerUrl"])


@define
class Scene:
    """A bridge that knows one conversation, `call`; `say` and `suggest` let it go on.

    `requests` are those that were admitted or, while `refuse` is above zero, refused.
    """

    bus: LocalBus = field(factory=LocalBus)
    lines: list[PanelLine] = field(factory=list)
    requests: list[web.Request] = field(factory=list)
    refuse: int = 0

    async def read(self, _: str) -> list[PanelLine]:
        return sorted(self.lines, key=lambda line: line.start_ms)

    def admit(self, request: web.Request, _: str) -> None:
        self.requests.append(request)
        if request.path.endswith("/stream") and self.refuse:
            self.refuse -= 1
            raise RejectedError(503, "too_many_panels", "not now")

    def drop(self) -> None:
        """The network breaks under the stream."""
        transport = self.requests[-1].transport
        assert transport
        transport.abort()

    def say(self, speaker: Speaker, start_s: float, text: str) -> str:
        seq = len(self.lines) + 1
        start_ms = 1_700_000_000_000 + int(start_s * 1000)
        self.lines.append(PanelLine(seq, f"e{seq}", speaker, start_ms, Shown(text, seal=SEAL)))
        self._publish({"type": "event"})
        return f"e{seq}"

    def suggest(self, text: str, *, state: str = "open", card: str = "c1", based_on: Sequence[str] = ()) -> None:
        self._publish({"type": "card", "card": card, "state": state, "text": text, "based_on": list(based_on)})

    def gateway(self, state: str) -> None:
        self._publish({"type": "gateway", "state": state, "detail": "connection refused"})

    def _publish(self, message: dict[str, Any]) -> None:
        self.bus.publish("call", orjson.dumps(message))


@asynccontextmanager
async def open_scene(query: str = "") -> AsyncIterator[tuple[Scene, Page]]:
    """A scene, and a browser that looks at it and is live."""
    scene = Scene()
    panel = make_panel(scene.read, scene.bus, frame_ancestors=(), admit=scene.admit, clock=MachineClock())
    app = web.Application()
    app.add_routes(panel)
    app.on_shutdown.append(panel.close)
    async with (
        open_listener(app, Http(host="127.0.0.1", port=0)) as port,
        open_page(f"http://127.0.0.1:{port}/panel/call{query}") as page,
    ):
        await page.until(LIVE)
        yield scene, page
        assert page.problems == []


LIVE = "document.body.dataset.state === 'live'"
AT_END = """(({scrollHeight, scrollTop, clientHeight}) =>
    scrollHeight - scrollTop - clientHeight < 2)(document.querySelector('#scroll'))"""
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def reply_is(text: str) -> str:
    return f"document.querySelector('#reply').textContent === {json.dumps(text)}"


def lines_are(count: int) -> str:
    return f"document.querySelectorAll('#lines li').length === {count}"


async def test_text_with_markup_is_shown_as_text_and_runs_nothing() -> None:
    async with open_scene() as (scene, page):
        said = scene.say("customer", 1, SCRIPT)
        scene.suggest(SCRIPT, based_on=[said])
        scene.suggest(SCRIPT + SCRIPT, based_on=[said])
        await page.until(reply_is(SCRIPT * 2))
        await page.until(lines_are(1))
        assert await page.text(".said") == SCRIPT
        assert await page.text("#quote") == SCRIPT
        assert await page.value("document.querySelectorAll('img, body script').length") == 0
        assert await page.value("document.title") == "Assist"


async def test_turns_stand_by_time_of_speech_and_say_who_and_when() -> None:
    async with open_scene() as (scene, page):
        assert "Listening" in await page.text("#idle")
        scene.say("agent", 5, "Good morning.")
        scene.say("customer", 70, "Where is my parcel?")
        scene.say("agent", 67, "How can I help?")
        scene.say("unknown", 0, "(ringing)")
        scene.say("agent", 3_700, "Still here?")
        await page.until(lines_are(5))
        heads = "[...document.querySelectorAll('.head')].map((head) => head.innerText.replace('\\n', ' '))"
        assert await page.value(heads) == [
            "Someone 00:00",
            "Agent 00:05",
            "Agent 01:07",
            "Customer 01:10",
            "Agent 1:01:40",
        ]


async def test_a_card_grows_quotes_what_it_answers_and_is_gone_when_withdrawn() -> None:
    async with open_scene() as (scene, page):
        asked = scene.say("customer", 0, "Where is my parcel?")
        scene.suggest("It left", based_on=[asked])
        await page.until(reply_is("It left"))
        await page.until("document.querySelector('#quote').textContent === 'Where is my parcel?'")
        assert await page.text(".is-answered .said") == "Where is my parcel?"
        assert await page.value("document.querySelector('#card').ariaBusy") == "true"
        scene.suggest("It left on Monday.", state="ready", based_on=[asked])
        await page.until("document.querySelector('#card').ariaBusy === 'false'")
        assert await page.text("#reply") == "It left on Monday."
        scene.suggest("", state="superseded")
        await page.until("!('card' in document.body.dataset)")
        assert await page.text("#reply") == ""
        assert await page.value("getComputedStyle(document.querySelector('#card')).visibility") == "hidden"
        assert await page.value("document.querySelector('.is-answered')") is None


async def test_the_page_says_that_the_model_is_not_reachable_until_it_is() -> None:
    async with open_scene() as (scene, page):
        scene.gateway("down")
        await page.until("document.body.dataset.state === 'unreachable'")
        assert await page.text("#state") == "Model unreachable"
        await page.until("document.querySelector('#notice').textContent.includes('cannot be reached')")
        scene.gateway("up")
        await page.until(LIVE)
        await page.until("document.querySelector('#notice').textContent === ''")


async def test_after_a_break_the_page_comes_back_to_where_it_was() -> None:
    async with open_scene("?session=a%20b") as (scene, page):
        scene.say("customer", 0, "Where is my parcel?")
        scene.suggest("It left")
        await page.until(reply_is("It left"))
        scene.drop()
        await page.until("document.body.dataset.state === 'reconnecting'")
        scene.suggest("It left on Monday.")
        await page.until(reply_is("It left on Monday."))
        await page.until(f"{LIVE} && {lines_are(1)}")
    first, again = (request for request in scene.requests if request.path.endswith("/stream"))
    assert "Last-Event-ID" not in first.headers
    assert again.headers["Last-Event-ID"]
    assert first.query["session"] == again.query["session"] == "a b"


async def test_after_a_refusal_the_page_says_so_and_tries_again_by_itself() -> None:
    async with open_scene() as (scene, page):
        scene.refuse = 1
        scene.drop()
        await page.until("document.body.dataset.state === 'refused'")
        await page.until(LIVE)
        scene.suggest("It left")
        await page.until(reply_is("It left"))
    streams = [request for request in scene.requests if request.path.endswith("/stream")]
    assert ["Last-Event-ID" in request.headers for request in streams] == [False, True, False]


async def test_the_reader_stays_at_the_end_unless_they_scrolled_away() -> None:
    async with open_scene() as (scene, page):
        await page.look(360, 640)
        for n in range(20):
            scene.say("customer", n, "One more turn of this long conversation about a parcel.")
        await page.until(f"{lines_are(20)} && {AT_END}")
        scene.suggest("A long reply. " * 20)
        await page.until(reply_is("A long reply. " * 20))
        await page.until(AT_END)
        await page.value("document.querySelector('#scroll').scrollTop = 0")
        await page.until("document.querySelector('#newest').hidden === false")
        scene.say("agent", 30, "Yes.")
        await page.until(lines_are(21))
        assert await page.value("document.querySelector('#scroll').scrollTop") == 0
        await page.value("document.querySelector('#newest').click()")
        await page.until(AT_END)


FAINTEST = """(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colours) => {
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return paint.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const grounds = (node) => node ? [...grounds(node.parentElement), getComputedStyle(node).backgroundColor] : [];
  const ratio = (node) => {
    const under = light(rgb(grounds(node))), over = light(rgb([...grounds(node), getComputedStyle(node).color]));
    return (Math.max(under, over) + 0.05) / (Math.min(under, over) + 0.05);
  };
  const texts = [...document.body.querySelectorAll('*')].filter(
    (node) => node.checkVisibility() && [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()));
  return {count: texts.length, ratio: Math.min(...texts.map(ratio))};
})()"""


@pytest.mark.parametrize("dark", [False, True])
async def test_every_text_has_the_contrast_of_wcag_aa_and_fits_320_pixels(*, dark: bool) -> None:
    async with open_scene() as (scene, page):
        await page.look(320, 640, dark=dark)
        asked = scene.say("customer", 0, "Where is my parcel " + "x" * 200)
        scene.say("agent", 3, "One moment.")
        scene.suggest("It left " + "y" * 200, based_on=[asked])
        scene.gateway("down")
        await page.until(f"document.querySelector('#notice').textContent && {lines_are(2)}")
        found = await page.value(FAINTEST)
        assert found["count"] >= 12
        assert found["ratio"] >= 4.5
        assert await page.value("document.documentElement.scrollWidth") == 320
