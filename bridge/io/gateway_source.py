"""One POST to the gateway and the frames of its answer, on top of aiohttp-sse-client.

The base class would connect again when a stream ends, which is a second inference, billed; it obeys a stream's `retry`,
follows redirects, and writes every message to its log. Of it remain the connection's states, `async with` and `close`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from aiohttp import ClientError, ClientResponse, ClientSession, hdrs
from aiohttp_sse_client.client import (
    CONTENT_TYPE_EVENT_STREAM,
    READY_STATE_OPEN,
    EventSource,
)
from attrs import define

from bridge.core.sse import Parser, ServerEvent
from bridge.ports import Clock

T = TypeVar("T")


class OneShot(EventSource):  # type: ignore[misc]  # the package carries no types
    """`limit`: bytes that one frame may have. Leaving the block closes the connection unless it was read to its end."""

    def __init__(
        self, session: ClientSession, url: str, body: bytes, headers: Mapping[str, str], *, limit: int
    ) -> None:
        own = {**headers, hdrs.ACCEPT: CONTENT_TYPE_EVENT_STREAM, hdrs.CACHE_CONTROL: "no-cache"}
        super().__init__(url, option={"method": "POST"}, session=session, data=body, headers=own, allow_redirects=False)
        self._parser = Parser(limit)
        self._arrived: deque[ServerEvent] = deque()

    @property
    def response(self) -> ClientResponse:
        """The answer. Its status and type are for the caller to judge."""
        assert self._response is not None, "connect first"
        return self._response  # type: ignore[no-any-return]  # ditto

    async def connect(self, retry: int = 0) -> None:  # noqa: ARG002 - the base class's argument; there is one try
        """Post, once. Raises aiohttp's ClientError."""
        self._response = await self._session.request(self._method, self._url, **self._kwargs)
        self._ready_state = READY_STATE_OPEN

    def arrived(self) -> ServerEvent | None:
        """The next event, if it can be had without waiting."""
        return self._arrived.popleft() if self._arrived else None

    def expire(self) -> None:
        """Have whoever waits for the next event get a TimeoutError. It costs the waits that end in time nothing."""
        self.response.content.set_exception(TimeoutError())

    async def event(self) -> ServerEvent | None:
        """The next event, None at the end.

        Raises ClientError when the connection breaks, FrameTooLarge, and TimeoutError when it expired.
        """
        while not self._arrived:
            if not (chunk := await self._chunk()):
                return None
            self._arrived.extend(self._parser.feed(chunk))
        return self._arrived.popleft()

    async def __anext__(self) -> ServerEvent:
        """The base class's way to the next event."""
        if (event := await self.event()) is None:
            raise StopAsyncIteration
        return event

    async def _chunk(self) -> bytes:
        """Bytes as they come, b"" at the end. A break is told only after what came before it."""
        content = self.response.content
        try:
            return await content.readany()
        except ClientError:
            if rest := content._read_nowait(-1):  # noqa: SLF001 - its public methods raise, and keep what had arrived
                return rest
            raise

    async def read_whole(self, limit: int) -> bytes:
        """The body of an answer that is no stream, at most `limit` bytes of it."""
        body = bytearray()
        while len(body) < limit and (chunk := await self._chunk()):
            body += chunk
        return bytes(body[:limit])


@define
class Watch:
    """Ends waits by our clock. One task serves a whole answer, so that a wait costs no timer of its own."""

    clock: Clock
    _due: float = math.inf
    _wakes_at: float = math.inf
    _expire: Callable[[], object] = bool
    _task: asyncio.Task[None] | None = None

    async def within(self, due: float, wait: Callable[[], Awaitable[T]]) -> T:
        """What `wait` gives. Raises TimeoutError once the clock shows `due`, at once when it does already."""
        async with asyncio.timeout(None) as scope:
            self.begin(due, partial(scope.reschedule, asyncio.get_running_loop().time()))
            try:
                return await wait()
            finally:
                self.end()

    def begin(self, due: float, expire: Callable[[], object]) -> None:
        """A wait begins that `expire` ends once the clock shows `due`. Raises TimeoutError when it does already."""
        if due <= self.clock.monotonic():
            raise TimeoutError
        self._due, self._expire = due, expire
        if due < self._wakes_at:
            self._arm(due)

    def end(self) -> None:
        """The wait is over."""
        self._due = math.inf

    def close(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()

    def _arm(self, due: float) -> None:
        self.close()
        self._wakes_at = due
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._wakes_at < math.inf:
            await self.clock.sleep(self._wakes_at - self.clock.monotonic())
            if self._due <= self.clock.monotonic():
                self._due = math.inf
                self._expire()
            self._wakes_at = self._due
