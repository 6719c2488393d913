from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from attrs import define

from bridge.core.address import FORBIDDEN, parse_networks
from bridge.errors import ConfigError
from bridge.io.egress import make_dialler, open_egress
from bridge.io.http import open_listener
from bridge.settings import Http

LOOPBACK = ("127.0.0.0/8",)
PACKED = gzip.compress(bytes(100_000))


@define
class Inside:
    """A service that only insiders should reach, and how often it was."""

    port: int = 0
    seen: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.seen += 1
        if request.path == "/cookie":
            return web.Response(headers={"Set-Cookie": "a=b"})
        if request.path == "/packed":
            return web.Response(body=PACKED, headers={"Content-Encoding": "gzip"})
        return web.Response(text=request.headers.get("Cookie", "no cookie"))


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    it, app = Inside(), web.Application()
    app.router.add_get("/{path:.*}", it.answer)
    async with open_listener(app, Http(port=0), shutdown=0.1) as it.port:
        yield it


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
async def test_no_spelling_of_loopback_is_dialled(inside: Inside, host: str) -> None:
    async with open_egress() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{host}:{inside.port}/")
    assert inside.seen == 0


async def test_what_the_allow_list_names_is_dialled(inside: Inside) -> None:
    async with (
        open_egress(LOOPBACK, public=False) as session,
        session.get(f"http://127.0.0.1:{inside.port}/") as answer,
    ):
        assert answer.status == 200


async def test_no_allow_list_opens_the_metadata_service() -> None:
    async with open_egress(("0.0.0.0/0", "::/0")) as session:
        for host in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "100.100.100.200"):
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.get(f"http://{host}/latest/meta-data/")
            assert caught.value.errno == FORBIDDEN


async def test_proxies_of_the_environment_are_ignored(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with open_egress(LOOPBACK) as session, session.get(f"http://127.0.0.1:{inside.port}/") as answer:
        assert answer.status == 200


async def test_cookies_are_not_kept(inside: Inside) -> None:
    async with open_egress(LOOPBACK) as session:  # a cookie of an IP address would not be kept anyway
        await session.get(f"http://localhost:{inside.port}/cookie")
        async with session.get(f"http://localhost:{inside.port}/") as answer:
            assert await answer.text() == "no cookie"


async def test_an_answer_is_not_unpacked(inside: Inside) -> None:
    async with open_egress(LOOPBACK) as session, session.get(f"http://127.0.0.1:{inside.port}/packed") as answer:
        assert await answer.read() == PACKED


async def test_a_wrong_network_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="lan"):
        async with open_egress(("lan",)):
            pytest.fail("opened")


async def test_a_host_with_a_forbidden_and_a_good_address_is_dialled_at_the_good_one(inside: Inside) -> None:
    """What a name resolves to is judged address by address."""

    class Both(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            one = aiohttp.abc.ResolveResult(
                hostname=host, host="10.9.9.9", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
            )
            return [one, {**one, "host": "127.0.0.1"}]

        async def close(self) -> None:
            pass

    dial = make_dialler(parse_networks(LOOPBACK), public=False)
    connector = aiohttp.TCPConnector(resolver=Both(), socket_factory=dial, family=socket.AF_INET)
    url = f"http://crm.example:{inside.port}/"
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
        assert answer.status == 200


def test_a_family_that_is_no_internet_is_refused() -> None:
    with pytest.raises(OSError, match="not an IP address"):
        make_dialler((), public=True)((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/docker.sock",)))
