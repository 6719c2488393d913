from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from bridge.errors import PayloadError, RejectedError
from bridge.io.http import make_door, make_health, open_listener
from bridge.ports import Accepted
from bridge.settings import Http, Secret, Source
from bridge.sim.clock import FakeClock

NOW = 1_767_225_600
WHSEC = "whsec_" + base64.b64encode(b"a secret of the test, 24 B+").decode()
OLD_WHSEC = "whsec_" + base64.b64encode(b"the one before, to rotate.").decode()
TOKEN = "a-static-token-of-the-test"
SOURCES = (
    Source(name="crm", scheme="standard", secrets=(Secret(WHSEC), Secret(OLD_WHSEC))),
    Source(name="messages", scheme="genesys_open_messaging", secrets=(Secret("sixteen-bytes-and-more"),)),
    Source(name="actions", scheme="token", secrets=(Secret(TOKEN),)),
    Source(name="keyed", scheme="token", secrets=(Secret(TOKEN),), header="X-Api-Key"),
)
EVENT = b'{"topicName": "v2.conversations.c1.transcription", "eventBody": {"said": "four one five"}}'
LIMITS = Http(port=0, max_body=4096, body_timeout=0.05)


@define
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert document["status"] == self.status
        return str(document["code"])


@define
class Door:
    """A door on a free port, with what it let in and counted."""

    port: int = 0
    stored: list[Mapping[str, Any]] = field(factory=list)
    counted: list[tuple[str, str]] = field(factory=list)
    wrong: Exception | None = None
    not_ready: str = ""
    told: asyncio.Event = field(factory=asyncio.Event)

    async def accept(self, envelope: Mapping[str, Any]) -> Accepted:
        if self.wrong:
            raise self.wrong
        duplicate = envelope in self.stored
        self.stored.append(envelope)
        return Accepted("event-1", duplicate)

    def count(self, source: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((source, code))
        self.told.set()

    async def ready(self) -> str:
        return self.not_ready

    async def say(self, *pieces: bytes) -> Answer:
        """Write bytes to the socket, read one answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await read_answer(reader)
        finally:
            writer.close()

    async def post(self, body: bytes, /, path: str = "/webhooks/actions", **headers: str) -> Answer:
        """A post with the static token, unless a header says otherwise (underscores for dashes)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.say(request(body, path, {"authorization": f"Bearer {TOKEN}", **named}))


def request(body: bytes, path: str, headers: Mapping[str, str], method: str = "POST") -> bytes:
    every = {"host": "bridge", "content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return Answer(int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    it = Door()
    app = web.Application()
    app.add_routes(make_door(SOURCES, it.accept, LIMITS, FakeClock(NOW * 1000), metrics=it.count))
    app.add_routes(make_health(it.ready))
    async with open_listener(app, LIMITS, shutdown=0.1) as it.port:
        yield it


def signed(body: bytes, secret: str = WHSEC, at: int = NOW) -> dict[str, str]:
    moment = datetime.fromtimestamp(at, UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}


# --- what is let in -----------------------------------------------------------------------------------------------


async def test_a_signed_event_is_stored_and_acknowledged(door: Door) -> None:
    answer = await door.say(request(EVENT, "/webhooks/crm", signed(EVENT)))
    assert (answer.status, json.loads(answer.body)) == (202, {"id": "event-1", "duplicate": False})
    assert door.stored == [json.loads(EVENT)]
    assert door.counted == [("crm", "accepted")]


async def test_a_duplicate_is_acknowledged_and_says_so(door: Door) -> None:
    await door.post(EVENT)
    answer = await door.post(EVENT)
    assert (answer.status, json.loads(answer.body)["duplicate"]) == (202, True)
    assert door.counted[1] == ("actions", "duplicate")


async def test_either_secret_of_a_rotation_opens_the_door(door: Door) -> None:
    assert (await door.say(request(EVENT, "/webhooks/crm", signed(EVENT, OLD_WHSEC)))).status == 202


async def test_an_open_messaging_signature_opens_the_door(door: Door) -> None:
    mac = base64.b64encode(hmac.digest(b"sixteen-bytes-and-more", EVENT, hashlib.sha256)).decode()
    headers = {"x-hub-signature-256": f"sha256={mac}"}
    assert (await door.say(request(EVENT, "/webhooks/messages", headers))).status == 202
    assert (await door.say(request(EVENT + b" ", "/webhooks/messages", headers))).code == "signature"


async def test_a_static_token_opens_the_door_in_the_header_of_the_settings(door: Door) -> None:
    assert (await door.say(request(EVENT, "/webhooks/keyed", {"x-api-key": TOKEN}))).status == 202
    assert (await door.post(EVENT, "/webhooks/keyed")).code == "signature"


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-16", "Application/JSON", "application/cloudevents+json"]
)
async def test_any_json_media_type_is_taken_as_utf_8(door: Door, kind: str) -> None:
    assert (await door.post(EVENT, content_type=kind)).status == 202


async def test_a_chunked_body_is_put_together_before_it_is_verified(door: Door) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (EVENT[:7], EVENT[7:])) + b"0\r\n\r\n"
    headers = signed(EVENT) | {"transfer-encoding": "chunked"}
    head = request(b"", "/webhooks/crm", headers).replace(b"content-length: 0\r\n", b"")
    assert (await door.say(head, chunks)).status == 202


async def test_one_connection_carries_many_requests_also_after_a_refusal(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    good = request(EVENT, "/webhooks/crm", signed(EVENT))
    writer.write(good + request(EVENT, "/webhooks/nobody", {}) + good)
    assert [(await read_answer(reader)).status for _ in range(3)] == [202, 404, 202]
    writer.close()


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
async def test_an_old_or_early_timestamp_is_refused(door: Door, at: int) -> None:
    assert (await door.say(request(EVENT, "/webhooks/crm", signed(EVENT, at=at)))).code == "signature"
    assert not door.stored


async def test_the_signature_is_checked_before_the_body_is_parsed(door: Door) -> None:
    answer = await door.say(request(b"no JSON", "/webhooks/crm", signed(EVENT)))
    assert (answer.status, answer.code) == (401, "signature")


async def test_an_unknown_source_is_refused_and_counted_under_no_name(door: Door) -> None:
    answer = await door.post(EVENT, "/webhooks/guess-4711")
    assert (answer.status, answer.code) == (404, "unknown_source")
    assert door.counted == [("", "unknown_source")]


@pytest.mark.parametrize(
    "headers",
    [{"content_type": "text/plain"}, {"content_type": ""}, {"content_type": "application/x-www-form-urlencoded"}],
)
async def test_another_media_type_is_refused(door: Door, headers: dict[str, str]) -> None:
    answer = await door.post(EVENT, **headers)
    assert (answer.status, answer.code) == (415, "media_type")


async def test_a_gzip_bomb_is_not_unpacked(door: Door) -> None:
    bomb = gzip.compress(bytes(10_000_000), 9)[:4000]
    answer = await door.post(bomb, content_encoding="gzip")
    assert (answer.status, answer.code) == (415, "media_type")


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(door: Door) -> None:
    head = request(b"", "/webhooks/actions", {"content-length": "4097"})
    answer = await door.say(head)
    assert (answer.status, answer.code) == (413, "too_large")


async def test_a_chunked_body_is_cut_at_the_limit(door: Door) -> None:
    head = request(b"", "/webhooks/actions", {"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    answer = await door.say(head, b"1001\r\n" + bytes(4097))
    assert (answer.status, answer.code) == (413, "too_large")


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(door: Door) -> None:
    answer = await door.say(request(EVENT, "/webhooks/actions", {"content-length": str(len(EVENT) + 1)}))
    assert (answer.status, answer.code) == (408, "timeout")
    assert not door.stored


async def test_broken_chunks_are_malformed(door: Door) -> None:
    head = request(b"", "/webhooks/actions", {"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    answer = await door.say(head, b"zz\r\n")
    assert (answer.status, answer.code) == (400, "malformed")


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"{", b"\xff\xfe{\0}\0", b'{"a": "\xc3"}', b"[" * 4000, b'{"a":' * 800, b"NaN", b'{"a": 1} {"b": 2}'],
)
async def test_what_is_no_json_is_malformed(door: Door, body: bytes) -> None:
    answer = await door.post(body)
    assert (answer.status, answer.code) == (400, "malformed")


async def test_a_hundred_thousand_brackets_do_not_fell_the_door() -> None:
    door, wide = Door(), Http(port=0, max_body=1_000_000)
    app = web.Application()
    app.add_routes(make_door(SOURCES, door.accept, wide, FakeClock(NOW * 1000), metrics=door.count))
    async with open_listener(app, wide, shutdown=0.1) as door.port:
        assert (await door.post(b"[" * 100_000)).code == "malformed"
        assert (await door.post(b"[" * 100_000 + b"]" * 100_000)).status in (400, 422)


async def test_json_that_is_no_object_is_no_event(door: Door) -> None:
    assert (await door.post(b"[1]")).status in (400, 422)


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        (PayloadError("eventBody.transcripts[0]: no text"), 422, "payload"),
        (RejectedError(503, "backlog", "too much waits", retry_after=9), 503, "backlog"),
    ],
)
async def test_what_accept_refuses_is_told(door: Door, wrong: RejectedError, status: int, code: str) -> None:
    door.wrong = wrong
    answer = await door.post(EVENT)
    assert (answer.status, answer.code, answer.headers.get("retry-after")) == (
        status,
        code,
        "9" if status == 503 else None,
    )


async def test_a_failure_of_ours_asks_for_another_try_and_tells_nothing(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.wrong = ZeroDivisionError("the inside of the house")
    answer = await door.post(EVENT)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "internal", "5")
    assert b"house" not in answer.body
    assert "request_failed" in {getattr(record, "action", "") for record in caplog.records}


async def test_no_refusal_repeats_what_was_sent(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    planted = b"4111-1111-1111-1111"
    answers = [
        await door.post(b'{"card": "' + planted),
        await door.post(EVENT, f"/webhooks/{planted.decode()}"),
        await door.post(EVENT, content_type=planted.decode()),
        await door.post(EVENT, authorization=planted.decode()),
        await door.say(b"GET / HTTP/1.1\r\nbad header " + planted + b"\r\n\r\n"),
    ]
    assert [answer.status for answer in answers] == [400, 404, 415, 401, 400]
    assert planted not in b"".join(answer.body for answer in answers)
    assert planted.decode() not in caplog.text


async def test_a_sender_who_leaves_in_the_middle_leaves_nothing_behind(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(request(EVENT, "/webhooks/actions", {"content-length": "999", "authorization": f"Bearer {TOKEN}"}))
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        await door.told.wait()
    assert (door.stored, door.counted) == ([], [("actions", "malformed")])
    assert "request_failed" not in {getattr(record, "action", "") for record in caplog.records}


# --- what is not even a request -----------------------------------------------------------------------------------


async def test_the_frameworks_own_refusals_are_problem_documents_too(door: Door) -> None:
    missing = await door.post(EVENT, "/nothing/here")
    method = await door.say(request(b"", "/webhooks/crm", {}, "DELETE"))
    expectation = await door.post(EVENT, expect="the impossible")
    assert [answer.code for answer in (missing, method, expectation)] == ["not_found", "method", "expectation"]
    assert method.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\ncontent-length: 9" + b"9" * 30 + b"\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.1\r\nhost: a\r\n" + b"x: a\r\n" * 2000 + b"\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST http://[::1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST //[ HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /webhooks/%ff%00%zz HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /webhooks/\xff\xfe HTTP/1.1\r\nhost: \xff\xfe\r\n\r\n",
        b"POST * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /webhooks/crm HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"POST /webhooks/crm HTTP/1.0\r\n\r\n",
    ],
)
async def test_any_bytes_get_a_refusal_with_a_code(door: Door, wire: bytes) -> None:
    answer = await door.say(wire)
    assert answer.code
    assert 400 <= answer.status < 500


async def test_after_bytes_that_are_no_http_the_connection_ends(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"\0\r\n\r\n" + request(b"", "/health/live", {}, "GET"))
    assert (await read_answer(reader)).status == 400
    assert await reader.read() == b""
    writer.close()


async def test_other_pages_behind_the_listener_may_refuse_alike_and_get_the_bytes_of_the_wire() -> None:
    async def page(request: web.Request) -> web.Response:
        raise RejectedError(403, "forbidden", f"{len(await request.read())} bytes are not for you")

    door, app, packed = Door(), web.Application(), gzip.compress(bytes(1000))
    app.router.add_post("/page", page)
    async with open_listener(app, LIMITS, shutdown=0.1) as door.port:
        answer = await door.post(packed, "/page", content_encoding="gzip")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert f"{len(packed)} bytes" in answer.body.decode()


NAMED = """
    content-type content-encoding content-length transfer-encoding authorization webhook-id webhook-timestamp
    webhook-signature x-hub-signature-256 x-api-key host expect connection upgrade cookie accept
"""
NAMES = st.sampled_from(NAMED.encode().split()) | st.from_regex(rb"[a-z-]{1,12}", fullmatch=True)
VALUES = st.binary(max_size=40) | st.sampled_from(
    [
        b"application/json",
        b"100-continue",
        b"upgrade",
        b"Bearer \xff",
        b"v1,",
        b"v1,//// v1a,=",
        b"sha256=\xff",
        b"9" * 400,
    ]
)
fuzz = settings(
    max_examples=60,
    deadline=None,
    # The door has no state that one example could leave for the next, besides what it stored.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fuzz
@given(st.binary(min_size=1, max_size=200).filter(lambda wire: wire.strip(b"\r\n")))
async def test_no_line_noise_gets_a_500_or_silence(door: Door, wire: bytes) -> None:
    answer = await door.say(wire + b"\r\n\r\n")
    assert answer.code
    assert 400 <= answer.status < 500


@fuzz
@given(st.sampled_from(SOURCES), st.lists(st.tuples(NAMES, VALUES), max_size=6), st.binary(max_size=60))
async def test_no_headers_get_a_500(
    door: Door, source: Source, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    given_lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    line = f"POST /webhooks/{source.name} HTTP/1.1\r\ncontent-length: {len(body)}\r\n"
    answer = await door.say(line.encode() + given_lines + b"\r\n" + body)
    assert answer.code
    assert 400 <= answer.status < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@fuzz
@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=60))
async def test_a_body_is_let_in_as_an_object_or_refused(door: Door, body: bytes) -> None:
    before = len(door.stored)
    answer = await door.post(body)
    if answer.status == 202:
        assert isinstance(door.stored[-1], dict)
    else:
        assert answer.code in ("malformed", "payload")
        assert len(door.stored) == before


# --- health -------------------------------------------------------------------------------------------------------


async def test_ready_says_what_is_wrong_while_live_goes_on(door: Door) -> None:
    ask: Callable[[str], bytes] = lambda path: request(b"", path, {}, "GET")  # noqa: E731 - two words for two lines
    assert (await door.say(ask("/health/ready"))).status == 200
    door.not_ready = "the engine cannot write: the disk is full"
    wrong = await door.say(ask("/health/ready"))
    assert (wrong.status, wrong.code) == (503, "not_ready")
    assert b"disk is full" in wrong.body
    assert (await door.say(ask("/health/live"))).status == 200
