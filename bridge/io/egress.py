"""The way out: a client session that dials only addresses it may.

The check is made on the socket's own address at the moment of dialling. A check of the host name, or in a resolver, can
be passed by: a resolver is not asked for IP literals, and a name may resolve to something else the second time.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bridge.core.address import FORBIDDEN, Network, parse_networks, refusal

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it: family, type, protocol, canonical name, socket address."""


@asynccontextmanager
async def open_egress(allow: Sequence[str] = (), *, public: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that dials public addresses (unless `public` is False) and the private networks (CIDR) of `allow`.

    No proxy of the environment, no cookies, no decompression. A request that may not be dialled raises
    `aiohttp.ClientConnectorError` with `errno` FORBIDDEN. Raises ConfigError for an `allow` that is no network.
    """
    connector = aiohttp.TCPConnector(socket_factory=make_dialler(parse_networks(allow), public=public), limit=0)
    async with aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "bridge"},
    ) as session:
        yield session


def make_dialler(allow: Sequence[Network], *, public: bool) -> Callable[[AddressInfo], socket.socket]:
    """A `socket_factory` that refuses addresses with an OSError, so that a host's other addresses are tried."""

    def dial(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if reason := refusal(str(address[0]), allow, public=public):
            raise OSError(FORBIDDEN, reason)
        return socket.socket(family, kind, protocol)

    return dial
