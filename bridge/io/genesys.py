"""Genesys Cloud's API: token and calls.

Which calls may be repeated when nobody knows whether they were done: all GET, HEAD and PUT, and of the POSTs those that
only read, those that add topics (adding twice is adding once), and the making of a channel (one that nobody connects to
is the first to go). Any other POST must not be marked `repeat`.

No token, secret, channel id (the connectUri ends in it) or text of a conversation is ever in a record or an error.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import orjson
from attrs import define, field, frozen

from bridge.core.channels import Grant, TopicState, renew_after
from bridge.core.genesys.answers import (
    PAGE,
    active_query,
    entries,
    line,
    mapping,
    message_text,
    topic_state,
    why_refused,
)
from bridge.core.genesys.fields import is_key
from bridge.core.retry import Policy, delay, doubling, parse_retry_after
from bridge.errors import ConfigError, GenesysError
from bridge.ports import Clock
from bridge.settings import GenesysSettings, Secret

_log = logging.getLogger(__name__)

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer; the snapshot of a long conversation has some hundred thousand."""
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
EARLY = 60.0
"""Seconds before its end at which a token is replaced."""

_POLICY = Policy(waits=doubling(1.0, 30.0), tries=6)
_REPEATABLE = frozenset({"GET", "HEAD", "PUT"})
_CHANNELS = "/api/v2/notifications/channels"
_MESSAGES = "/api/v2/conversations/messages/{}/messages"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

Session = AbstractAsyncContextManager[aiohttp.ClientSession]


@frozen
class Answer:
    """What came back: the parsed body (None when it was empty), and how to find the call in Genesys' own logs."""

    status: int
    body: Any
    correlation: str
    retry_after: float | None


class LostError(GenesysError):
    """No answer came: nobody knows whether the call was done."""


@asynccontextmanager
async def open_genesys(
    settings: GenesysSettings, *, clock: Clock, random: Callable[[], float], session: Session | None = None
) -> AsyncIterator[GenesysClient]:
    """The edge to one org. `session` is who dials (`open_egress(…)`); none: a plain session. Raises ConfigError."""
    if settings.client_secret is None or not settings.client_id:
        raise ConfigError(["genesys.client_id and genesys.client_secret: both are needed to speak with Genesys Cloud"])
    if not settings.domain and not (settings.api_url and settings.login_url):
        raise ConfigError(["genesys.domain: should be your region's, such as mypurecloud.de"])
    async with session or aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        client = GenesysClient(settings, opened, clock, random)
        try:
            yield client
        finally:
            client.close()


@frozen(repr=False)
class Token:
    """An access token; times of the clock that never goes back."""

    value: Secret
    made: float
    expires: float


@define(eq=False, repr=False)
class GenesysClient:
    """The calls. Implements `ports.Genesys`, and what the channel door needs. All raise GenesysError."""

    _settings: GenesysSettings
    _session: aiohttp.ClientSession
    _clock: Clock
    _random: Callable[[], float]
    _token: Token | None = field(init=False, default=None)
    _flight: asyncio.Task[Token] | None = field(init=False, default=None)

    def close(self) -> None:
        """Leave a log-in that nobody waits for any more."""
        if self._flight is not None:
            self._flight.cancel()

    # --- conversations ---

    async def conversation(self, conversation: str) -> dict[str, Any]:
        """The conversation as it stands, as it came."""
        found = await self._call("GET", "/api/v2/conversations/{}", conversation)
        return mapping(found.body)

    async def message(self, conversation: str, message: str) -> str:
        """The text of a digital message; "" when it has none."""
        found = await self._call("GET", _MESSAGES + "/{}", conversation, message)
        return message_text(mapping(found.body))

    async def messages_bulk(self, conversation: str, messages: Sequence[str]) -> dict[str, str]:
        """{message id: text} of those that exist."""
        found = await self._call("POST", _MESSAGES + "/bulk", conversation, body=list(messages), repeat=True)
        return {str(each["id"]): message_text(each) for each in entries(found.body, "entities") if each.get("id")}

    async def active_conversations(self, queues: Sequence[str], users: Sequence[str], *, hours: int = 24) -> list[str]:
        """Conversations of these queues and users that began within `hours` and go on, as far as analytics knows.

        Analytics lags behind, and pages drift while conversations end: for finding what was missed, not for counting.
        """
        found: dict[str, None] = {}
        for number in range(1, 101):
            query = active_query(queues, users, self._clock.now_ms(), hours=hours, page=number)
            answer = await self._call("POST", "/api/v2/analytics/conversations/details/query", body=query, repeat=True)
            page = entries(answer.body, "conversations")
            found |= {each["conversationId"]: None for each in page if is_key(each.get("conversationId"))}
            if len(page) < PAGE:
                break
        return list(found)

    # --- channels ---

    async def create_channel(self) -> Grant:
        """A new channel, made with a new token: a channel ends with the token that made it."""
        token = await self._fresh_token(younger_than=EARLY)
        made = mapping((await self._call("POST", _CHANNELS, repeat=True)).body)
        if not isinstance(made.get("id"), str) or not str(made.get("connectUri")).startswith(self._streaming):
            why = f"the answer has no id, or no connectUri that begins with {self._streaming}"
            raise GenesysError(f"POST {_CHANNELS}: {why}", retryable=False)
        life = renew_after(token.expires - self._clock.monotonic())
        return Grant(Secret(made["id"], "channel"), Secret(made["connectUri"], "connectUri"), life)

    async def channel_exists(self, channel: Secret) -> bool:
        """Whether the channel is still there."""
        try:
            await self._call("HEAD", _CHANNELS + "/{}", channel)
        except GenesysError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def subscribe(self, channel: Secret, topics: Sequence[str]) -> list[TopicState]:
        """Add topics; what became of each, for an answer of 200 can hold refusals."""
        return await self._subscribe("POST", channel, topics)

    async def put_subscriptions(self, channel: Secret, topics: Sequence[str]) -> list[TopicState]:
        """Replace all topics of the channel."""
        return await self._subscribe("PUT", channel, topics)

    async def _subscribe(self, method: str, channel: Secret, topics: Sequence[str]) -> list[TopicState]:
        path, body = _CHANNELS + "/{}/subscriptions", [{"id": topic} for topic in topics]
        answer = await self._call(method, path, channel, body=body, params={"ignoreErrors": "true"}, repeat=True)
        return [topic_state(each) for each in entries(answer.body, "entities")]

    # --- token ---

    async def token(self) -> Secret:
        """A token that is good for a minute at least; proves that the credentials are."""
        return (await self._fresh_token()).value

    async def _fresh_token(self, *, younger_than: float = float("inf")) -> Token:
        now, held = self._clock.monotonic(), self._token
        if held is not None and held.expires - now > EARLY and now - held.made < younger_than:
            return held
        if self._flight is None:
            self._flight = asyncio.create_task(self._log_in())
            self._flight.add_done_callback(self._landed)
        return await asyncio.shield(self._flight)

    def _landed(self, flight: asyncio.Task[Token]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # all who waited may have left; then nobody else looks at it

    async def _log_in(self) -> Token:
        secret = self._settings.client_secret
        assert secret is not None
        url = (self._settings.login_url or f"https://login.{self._settings.domain}").rstrip("/") + "/oauth/token"
        basic = base64.b64encode(f"{self._settings.client_id}:{secret.show()}".encode()).decode()

        async def once() -> Answer:
            form = {"grant_type": "client_credentials"}
            return await self._send("POST", "/oauth/token", url, headers={"Authorization": f"Basic {basic}"}, data=form)

        answer = await self._persist("POST /oauth/token", once, repeat=True)
        if answer.status in {400, 401}:
            raise _refused("POST /oauth/token", answer, "check [genesys] client_id, client_secret and the grant type")
        granted = mapping(_done("POST /oauth/token", answer).body)
        value, life = granted.get("access_token"), granted.get("expires_in")
        if not isinstance(value, str) or not isinstance(life, int) or not value.isascii() or not value.isprintable():
            raise GenesysError("POST /oauth/token: the answer has no access_token and expires_in", retryable=False)
        now = self._clock.monotonic()
        self._token = Token(Secret(value, "access token"), now, now + life)
        return self._token

    # --- one call ---

    @property
    def _api(self) -> str:
        return (self._settings.api_url or f"https://api.{self._settings.domain}").rstrip("/")

    @property
    def _streaming(self) -> str:
        """What a connectUri begins with: it is no less protected than the API."""
        return "ws://" if self._api.startswith("http:") else "wss://"

    async def _call(
        self,
        method: str,
        path: str,
        *names: str | Secret,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> Answer:
        """Call until it is done, refused, or tried often enough. `path` has `{}` for each of `names`."""
        url, what = self._api + path.format(*map(_segment, names)), f"{method} {path}"
        given = {} if body is None else {"data": orjson.dumps(body)}

        async def once() -> Answer:
            token = await self._fresh_token()
            headers = {"Authorization": f"Bearer {token.value.show()}"} | (
                {"Content-Type": "application/json"} if given else {}
            )
            answer = await self._send(method, path, url, headers=headers, params=params, **given)
            if answer.status == 401 and self._token is token:
                self._token = None
            return answer

        async def renewing() -> Answer:
            answer = await once()
            return answer if answer.status != 401 else await once()

        return _done(what, await self._persist(what, renewing, repeat=repeat or method in _REPEATABLE))

    async def _persist(self, what: str, once: Callable[[], Awaitable[Answer]], *, repeat: bool) -> Answer:
        """Try again what may pass: 429 always, for it was not done; 5xx and lost connections only if `repeat`."""
        failures = 0
        while True:
            failures += 1
            try:
                answer = await once()
            except LostError as error:
                wait = delay(failures, _POLICY, self._random()) if repeat else None
                if wait is None:
                    raise GenesysError(error.detail) from None
            else:
                if answer.status != 429 and not (repeat and answer.status >= 500):
                    return answer
                # Up to a second more: the limit ends for all who share it at the same moment.
                told = None if answer.retry_after is None else answer.retry_after + self._random()
                wait = delay(failures, _POLICY, self._random(), retry_after=told)
                if wait is None:
                    return answer
            _log.info("genesys_again", extra={"action": "genesys_again", "call": what, "wait_s": round(wait, 3)})
            await self._clock.sleep(wait)

    async def _send(self, method: str, path: str, url: str, **given: Any) -> Answer:
        try:
            async with self._session.request(method, url, allow_redirects=False, timeout=TIMEOUT, **given) as response:
                raw = await _read(response, f"{method} {path}")
                wait = parse_retry_after(response.headers.get("Retry-After"), self._clock.now_ms() / 1000)
                answer = Answer(
                    response.status, _parsed(raw), line(response.headers.get("ININ-Correlation-Id", "")), wait
                )
        except TimeoutError:
            raise LostError(f"{method} {path}: no answer within {TIMEOUT.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # Its text may hold the address, and with it a channel's id.
            raise LostError(f"{method} {path}: the connection failed: {type(error).__name__}") from None
        fields = {"action": "genesys_called", "call": f"{method} {path}", "status": answer.status}
        _log.debug("genesys_called", extra=fields | {"correlation": answer.correlation})
        return answer


# --- answers ------------------------------------------------------------------------------------------------------


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_ANSWER:
            response.close()
            raise GenesysError(f"{what}: the answer is longer than {MAX_ANSWER} bytes", retryable=False)
    return bytes(body)


def _done(what: str, answer: Answer) -> Answer:
    """The answer, if it is a good one."""
    if 200 <= answer.status < 300:
        return answer
    raise _refused(what, answer, why_refused(answer.status, answer.body))


def _refused(what: str, answer: Answer, why: str) -> GenesysError:
    seen = f", correlation id {answer.correlation}" if answer.correlation else ""
    return GenesysError(
        f"{what}: {answer.status}: {why}{seen}",
        status=answer.status,
        retry_after=answer.retry_after,
        retryable=answer.status == 429 or answer.status >= 500,
    )


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None


def _segment(name: str | Secret) -> str:
    """An id as a piece of a path: with anything else in it, another call would be made."""
    shown = name.show() if isinstance(name, Secret) else name
    if not _NAME.fullmatch(shown):
        raise GenesysError("an id should be 1-128 letters, digits, - and _", retryable=False)
    return shown
