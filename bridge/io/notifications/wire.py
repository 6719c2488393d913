"""A notification channel of ours, and the one socket that is on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from attrs import define, field
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from bridge.core.channels import Grant
from bridge.errors import GenesysError
from bridge.settings import Secret

MAX_FRAME = 1_048_576
"""Bytes. A snapshot has some ten thousand; what is longer than this ends the socket."""

Turn = Literal["closing", "renew", "dropped", "silent", "revoked", "gone"]
"""Why another socket is needed."""

# The library logs the address, which is a secret, and every frame. This logger has no handlers and no parent.
_MUTE = logging.Logger("websockets, muted", logging.CRITICAL + 1)  # noqa: LOG001 - it must have no parent


@define(eq=False)
class Channel:
    """A channel of ours. `topics`: what was asked for on it, and whether it was permitted."""

    grant: Grant
    made: float
    topics: dict[str, bool] = field(factory=dict)
    sockets: int = 0


@define(eq=False)
class Socket:
    """A connection to a channel. `turn` is set when another one is needed."""

    wire: ClientConnection
    channel: Channel
    opened: float
    heard: float
    turn: asyncio.Future[Turn] = field(factory=lambda: asyncio.get_running_loop().create_future())

    def replace(self, why: Turn) -> None:
        """Say that it must be replaced; the first reason counts."""
        if not self.turn.done():
            self.turn.set_result(why)

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send a control message; whether it arrives shows in what is received."""
        try:
            await self.wire.send(orjson.dumps(message).decode())
        except ConnectionClosed:
            self.replace("dropped")


class _Connect(connect):
    """Follows no redirect: the address is a secret of its server's."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(uri: Secret) -> ClientConnection:
    """Connect to a channel. Raises GenesysError, which never names the address."""
    try:
        return await _Connect(
            uri.show(),
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,  # the service's own heartbeat tells more, on our clock
            open_timeout=10,
            close_timeout=5,
            proxy=None,
            logger=_MUTE,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise GenesysError(f"the notification socket was refused: {status}", status=status) from None
    except (OSError, TimeoutError, ValueError, WebSocketException) as error:
        raise GenesysError(f"the notification socket did not open: {type(error).__name__}") from None
