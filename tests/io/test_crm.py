from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from bridge.core.retry import verdict
from bridge.errors import ConfigError
from bridge.io.crm import MAX_DETAIL, open_destination
from bridge.io.egress import open_egress
from bridge.io.http import open_listener
from bridge.ports import Callback, Destination, Reply
from bridge.settings import DestinationSettings, Http, Secret
from bridge.sim.clock import FakeClock
from bridge.sim.crm import SimCrm, make_crm

NEW = "whsec_" + base64.b64encode(b"a secret of the test, 24 B+").decode()
OLD = "whsec_" + base64.b64encode(b"the one before, to rotate.").decode()
CALLBACK = Callback(
    key="conv.1:com/2:utt 3:assist:0",
    conversation="conv.1",
    handler="assist",
    event="e",
    destination="crm",
    name="suggestion.shown",
    payload='{"type": "suggestion.shown", "text": "Grüße"}'.encode(),
)
Send = Callable[..., Awaitable[Reply]]


def destination_of(url: str, **more: object) -> DestinationSettings:
    given = {"secrets": (Secret(NEW),), "allow": ("127.0.0.0/8",), "timeout": 2.0, **more}
    return DestinationSettings(name="crm", url=url, **given)  # type: ignore[arg-type]  # a test's shorthand


@asynccontextmanager
async def opened(settings: DestinationSettings) -> AsyncIterator[Destination]:
    """The sim verifies against the machine's time, so the callback is signed at it."""
    now = FakeClock(int(time.time() * 1000))
    async with open_destination(settings, clock=now, egress=open_egress) as destination:
        yield destination


@pytest.fixture
async def send_to() -> AsyncIterator[Send]:
    """Send the callback to a simulated CRM, as many times as asked; the last reply."""
    async with AsyncExitStack() as stack:

        async def send(crm: SimCrm, times: int = 1, **more: object) -> Reply:
            port = await stack.enter_async_context(open_listener(make_crm(crm), Http(port=0), shutdown=0.05))
            one = destination_of(f"http://127.0.0.1:{port}/hooks/s3cret-path", **more)
            destination = await stack.enter_async_context(opened(one))
            return [await destination.send(CALLBACK) for _ in range(times)][-1]

        yield send


async def test_a_callback_arrives_verified_with_its_exact_bytes(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW])
    reply = await send_to(crm)
    assert (reply.status, verdict(reply.status), crm.refused) == (200, "delivered", [])
    ((identity, entry),) = crm.accepted.items()
    assert entry.payload["text"] == "Grüße"
    assert "." not in identity


async def test_every_try_is_the_same_message_to_the_other_side(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW])
    await send_to(crm, times=3)
    assert (len(crm.accepted), crm.repeats) == (1, 2)


@pytest.mark.parametrize("theirs", [NEW, OLD])
async def test_either_side_may_rotate_its_secret_first(send_to: Send, theirs: str) -> None:
    assert (await send_to(SimCrm(secrets=[theirs]), secrets=(Secret(NEW), Secret(OLD)))).status == 200


async def test_a_secret_that_does_not_fit_is_refused_for_good(send_to: Send) -> None:
    crm = SimCrm(secrets=[OLD])
    reply = await send_to(crm)
    assert (reply.status, verdict(reply.status), crm.accepted) == (401, "dead", {})
    assert "does not verify" in reply.detail


async def test_the_settings_headers_are_sent_but_cannot_replace_ours() -> None:
    headers = (("X-Tenant", Secret("acme")), ("Content-Type", Secret("text/plain")), ("Webhook-Id", Secret("msg_0")))
    request = await _wire(destination_of("http://127.0.0.1:{port}/", headers=headers))
    assert request.count(b"x-tenant: acme") == 1
    assert request.count(b"content-type: ") == 1
    assert b"content-type: application/json" in request
    assert b"msg_0" not in request


async def test_a_destination_without_secrets_gets_no_signature() -> None:
    request = await _wire(destination_of("http://127.0.0.1:{port}/", secrets=()))
    assert b"webhook-id: " in request
    assert b"webhook-signature" not in request
    assert request.endswith(CALLBACK.payload)


async def test_the_wire_carries_what_any_standard_webhooks_library_reads() -> None:
    head, _, body = (await _wire(destination_of("http://127.0.0.1:{port}/"))).partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    Webhook(NEW).verify(body, headers)
    assert headers["idempotency-key"] == headers["webhook-id"]


# --- what the other side may do -----------------------------------------------------------------------------------


async def test_a_crm_that_asks_to_wait_is_heard(send_to: Send) -> None:
    reply = await send_to(SimCrm(secrets=[NEW], fault_first=1, status=429, retry_after="30"))
    assert (reply.status, reply.retry_after, verdict(reply.status)) == (429, 30.0, "later")


async def test_a_crm_that_hangs_up_after_storing_has_the_entry_once(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW], fault="drop_after", fault_first=1)
    assert (await send_to(crm, times=2)).status == 200
    assert (len(crm.accepted), crm.repeats) == (1, 1)


async def test_a_crm_that_hangs_up_before_storing_gets_it_at_the_next_try(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW], fault="drop_before", fault_first=1)
    assert (await send_to(crm, times=2)).status == 200
    assert (len(crm.accepted), crm.repeats) == (1, 0)


async def test_one_send_is_one_post_even_when_a_kept_connection_broke() -> None:
    crm = SimCrm(secrets=[NEW], fault="drop_before")
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(open_listener(make_crm(crm), Http(port=0), shutdown=0.05))
        destination = await stack.enter_async_context(opened(destination_of(f"http://127.0.0.1:{port}/")))
        assert (await destination.send(CALLBACK)).status == 200
        crm.fault_first = 99
        reply = await destination.send(CALLBACK)
    assert (reply.status, verdict(reply.status), crm.posts) == (None, "later", 2)


async def test_garbage_is_no_answer(send_to: Send) -> None:
    reply = await send_to(SimCrm(secrets=[NEW], fault="garbage", fault_first=1))
    assert verdict(reply.status) == "later"
    assert "s3cret-path" not in reply.detail


async def test_a_redirect_is_not_followed(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW], fault="redirect", fault_first=1)
    reply = await send_to(crm)
    assert (reply.status, verdict(reply.status), crm.posts) == (307, "dead", 1)


async def test_an_answer_without_end_is_cut(send_to: Send) -> None:
    reply = await send_to(SimCrm(secrets=[NEW], fault="endless", fault_first=1))
    assert reply.status == 200
    assert len(reply.detail) <= MAX_DETAIL


async def test_a_crm_that_does_not_answer_is_waited_for_only_so_long(send_to: Send) -> None:
    reply = await send_to(SimCrm(secrets=[NEW], fault="slow", fault_first=1), timeout=0.05)
    assert reply == Reply(None, "no answer within 0.05 s")


async def test_an_answer_that_trickles_counts_against_the_same_timeout() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1")

    assert (await _send_to_server(trickle, timeout=0.05)).status is None


async def test_a_closed_port_is_tried_again_later() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    async with opened(destination_of(f"http://127.0.0.1:{port}/")) as destination:
        reply = await destination.send(CALLBACK)
    assert (reply.status, reply.final) == (None, False)
    assert "failed" in reply.detail


async def test_an_address_that_may_not_be_dialled_is_final(send_to: Send) -> None:
    crm = SimCrm(secrets=[NEW])
    reply = await send_to(crm, allow=())
    assert (reply.status, reply.final, crm.posts) == (None, True, 0)
    assert "127.0.0.1 is refused: loopback" in reply.detail


async def test_plain_http_does_not_leave_the_house() -> None:
    async with opened(destination_of("http://8.8.8.8/", timeout=0.2)) as destination:
        reply = await destination.send(CALLBACK)
    assert (reply.status, reply.final) == (None, True)
    assert "plain http" in reply.detail


async def test_https_to_a_port_that_speaks_no_tls_is_a_connection_fault() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    reply = await _send_to_server(plain, scheme="https")
    assert (reply.status, reply.final) == (None, False)


@settings(
    max_examples=60,
    deadline=None,
    # Each example has a server of its own; nothing of the event loop's fixture is shared between them.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.binary(max_size=80),
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 X\r\nRetry-After: "]),
)
async def test_whatever_the_other_side_says_is_a_reply(noise: bytes, start: bytes) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start + noise + b"\r\n\r\n")
        writer.close()

    reply = await _send_to_server(babble)
    assert reply.retry_after is None or reply.retry_after >= 0
    assert reply.detail.isprintable()


# --- what the settings may hold -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"url": "ftp://crm.example/"}, "destinations.crm.url"),
        ({"url": "https://anna:pass@crm.example/"}, "destinations.crm.url"),
        (
            {"url": "https://crm.example/", "headers": (("X-Key", Secret("a\r\nhost: b")),)},
            "destinations.crm.headers.X-Key",
        ),
        ({"url": "https://crm.example/", "secrets": (Secret("whsec_%%%"),)}, "destinations.crm.secrets"),
        ({"url": "https://crm.example/", "allow": ("lan",)}, "allow"),
    ],
)
async def test_a_wrong_setting_is_told_at_the_start_and_not_at_the_first_callback(
    wrong: dict[str, object], place: str
) -> None:
    with pytest.raises(ConfigError, match=place):
        async with opened(destination_of(**wrong)):  # type: ignore[arg-type]  # a test's shorthand
            pytest.fail("opened")


async def _send_to_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    scheme: str = "http",
    **more: object,
) -> Reply:
    async with AsyncExitStack() as stack:

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stack.callback(writer.close)
            await reader.read(65_536)
            await serve(reader, writer)

        server = await asyncio.start_server(once, "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        destination = await stack.enter_async_context(opened(destination_of(f"{scheme}://127.0.0.1:{port}/", **more)))
        return await destination.send(CALLBACK)


async def _wire(one: DestinationSettings) -> bytes:
    """The bytes of one post."""
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.set_result(head + await reader.readexactly(len(CALLBACK.payload)))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        url = one.url.format(port=server.sockets[0].getsockname()[1])
        settled = destination_of(url, secrets=one.secrets, headers=one.headers)
        async with opened(settled) as destination:
            assert (await destination.send(CALLBACK)).status == 204
    wire: bytes = heard.result()
    return wire
