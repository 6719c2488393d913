"""Time, the doors, the journal, and the other ends. Times are milliseconds UTC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import frozen

from bridge.core.masking import Masked
from bridge.ports.engine import Callback


class Clock(Protocol):
    """Time as an argument: the machine's, a replay's, or a test's."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of this clock."""
        ...


@frozen
class Reply:
    """A destination's answer. `status` None: no connection; `retry_after` in seconds; `final`: never try again,
    whatever the status (an address that may not be dialled).
    """

    status: int | None
    detail: str = ""
    retry_after: float | None = None
    final: bool = False


class Destination(Protocol):
    """Where callbacks go."""

    async def send(self, callback: Callback) -> Reply:
        """Sign and post once. Never raises for what the other side does."""
        ...


class Bus(Protocol):
    """Live text between processes: bounded, never waits, loses rather than blocks."""

    def publish(self, channel: str, message: bytes, *, keep: bool = False) -> None:
        """Hand a message to whoever listens. `keep`: also to who comes within ten minutes, until the channel's next
        kept one takes its place.
        """
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Listen from now on, to the kept message first. The iterator ends when messages were lost: listen anew."""
        ...


class Genesys(Protocol):
    """The calls of Genesys Cloud's API that handlers may use."""

    async def conversation(self, conversation: str) -> dict[str, Any]:
        """GET /api/v2/conversations/{id}, as it came. Raises GenesysError."""
        ...

    async def message(self, conversation: str, message: str) -> str:
        """The text of a digital message. Raises GenesysError."""
        ...


class Journal(Protocol):
    """Where everything that happens is noted once, and becomes log records, metrics and what the demo shows."""

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        """One word for what happened (`stored`, `settled`, `answered`, …), and ids and figures. Text only as
        Masked. A field `level` of "warning" or "error" raises the record's level; figures end in their unit.
        """
        ...


@frozen
class Accepted:
    """What a door may answer: the id of the envelope's (first) event, and whether all of it was known before."""

    id: str
    duplicate: bool


class Accept(Protocol):
    """Where all doors end."""

    async def __call__(self, envelope: Mapping[str, Any]) -> Accepted:
        """Turn a parsed envelope into events and store them. Durable when it returns. Raises RejectedError:
        422 for what is no event, 503 when the engine cannot take it.
        """
        ...
