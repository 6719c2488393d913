"""Callbacks out: one signed POST to a destination (Standard Webhooks 1.0), and what came of it.

The id is made of the callback's key and the payload is fixed, so every try of a callback is the same message to the
other side; timestamp and signature are made anew, for old ones are refused there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import blake2b

import aiohttp
from attrs import frozen

from bridge.core.address import FORBIDDEN, url_problem
from bridge.core.retry import parse_retry_after
from bridge.core.signature import check_secret, sign_standard
from bridge.errors import ConfigError
from bridge.ports import Callback, Clock, Destination, Reply
from bridge.settings import DestinationSettings

MAX_ANSWER = 16_384
"""Bytes that are read of an answer; a longer one is cut, and its connection is closed."""
MAX_DETAIL = 200
"""Characters of an answer that are kept."""

Egress = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]
"""`bridge.io.egress.open_egress`: (allow, *, public) -> session."""


@asynccontextmanager
async def open_destination(
    settings: DestinationSettings, *, clock: Clock, egress: Egress
) -> AsyncIterator[Destination]:
    """A CRM to send to, with a session of its own. Plain http goes only to what `allow` lists. Raises ConfigError."""
    if problems := [f"destinations.{settings.name}.{problem}" for problem in _problems(settings)]:
        raise ConfigError(problems)
    async with egress(settings.allow, public=settings.url.startswith("https:")) as session:
        yield Crm(settings, session, clock)


def _problems(settings: DestinationSettings) -> Iterator[str]:
    """What would make every try fail, found before the first."""
    if problem := url_problem(settings.url):
        yield f"url: {problem}"
    for secret in settings.secrets:
        if problem := check_secret("standard", secret.show()):
            yield f"secrets: {secret}: {problem}"
    for name, value in settings.headers:
        if not (name + value.show()).isprintable() or not (name + value.show()).isascii():
            yield f"headers.{name}: use printable ASCII only"


def message_id(key: str) -> str:
    """The `webhook-id` of a callback: the same for the same key, without the dots that would end it when signed."""
    return f"msg_{blake2b(key.encode(), digest_size=16).hexdigest()}"


@frozen
class Crm:
    """The edge to one CRM."""

    settings: DestinationSettings
    session: aiohttp.ClientSession
    clock: Clock

    async def send(self, callback: Callback) -> Reply:
        """Sign and post once, within the destination's timeout. Whatever the other side does is a Reply."""
        try:
            return await self._post(callback)
        except TimeoutError:
            return Reply(None, f"no answer within {self.settings.timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            return Reply(None, _line(error.strerror or "no connection"), final=error.errno == FORBIDDEN)
        except (aiohttp.ClientError, OSError) as error:
            # Its text may repeat the URL, whose path may be a secret.
            return Reply(None, f"the connection failed: {type(error).__name__}")

    async def _post(self, callback: Callback) -> Reply:
        async with self.session.post(
            self.settings.url,
            data=callback.payload,
            headers=self._headers(callback),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self.settings.timeout),
        ) as response:
            answer = await _read_at_most(response, MAX_ANSWER)
            wait = parse_retry_after(response.headers.get("Retry-After"), self.clock.now_ms() / 1000)
            return Reply(response.status, _line(answer.decode(errors="replace")), wait)

    def _headers(self, callback: Callback) -> Mapping[str, str]:
        """Ours last: the settings' own headers cannot replace them."""
        identity, now = message_id(callback.key), self.clock.now_ms() // 1000
        secrets = [secret.show() for secret in self.settings.secrets]
        signature = sign_standard(identity, now, callback.payload, secrets) if secrets else None
        return {
            **{name.lower(): value.show() for name, value in self.settings.headers},
            "content-type": "application/json",
            "idempotency-key": identity,
            "webhook-id": identity,
            "webhook-timestamp": str(now),
            **({"webhook-signature": signature} if signature else {}),
        }


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            response.close()  # an answer without end shall not hold the connection
            break
    return bytes(body[:limit])


def _line(text: str) -> str:
    """One printable line, shortened, for lists and the console."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_DETAIL])
    return " ".join(shown.split())[:MAX_DETAIL]
