"""What the parts hand to one another: frozen records and small Protocols. Times are milliseconds UTC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from attrs import field, frozen

from bridge.core.masking import Masked

Mode = Literal["ordered", "latest"]
DeliveryState = Literal["waiting", "finished", "superseded", "dead"]
CallbackState = Literal["waiting", "delivered", "dead"]
CountedBy = Literal["gateway", "tokenizer", "estimate"]
Outcome = Literal["complete", "cut", "incomplete", "failed"]


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


# --- the engine ---------------------------------------------------------------------------------------------------


@frozen
class Arrival:
    """An event on its way into the engine: `body` is codec's dump, `wanted` the handlers that get a delivery."""

    id: str
    conversation: str
    kind: str
    body: bytes
    received_ms: int
    wanted: tuple[tuple[str, Mode], ...] = ()


@frozen
class Appended:
    """What the engine made of an arrival: its place in the log, or the place of the one it repeats."""

    id: str
    seq: int | None
    duplicate: bool


@frozen
class Stored:
    """An event as the engine keeps it."""

    seq: int
    id: str
    conversation: str
    kind: str
    body: bytes
    received_ms: int


@frozen
class Delivery:
    """An event for one handler. `attempts` counts failures so far; it may run from `not_before_ms` on."""

    event: Stored
    handler: str
    mode: Mode
    partition: int
    attempts: int = 0
    not_before_ms: int = 0
    state: DeliveryState = "waiting"
    error: str = ""
    settled_ms: int | None = None
    settled_as: int | None = None
    """The how-manieth settlement of the whole engine this was: shows the order within a lane."""

    @property
    def key(self) -> str:
        """`event:handler`: the first part of the key of every effect."""
        return f"{self.event.id}:{self.handler}"


@frozen
class Callback:
    """An effect that is posted: payload bytes are fixed when it is stored, under `key` = `event:handler:n`."""

    key: str
    conversation: str
    handler: str
    event: str
    destination: str
    name: str
    payload: bytes
    partition: int = 0
    attempts: int = 0
    not_before_ms: int = 0
    stored_ms: int = 0
    state: CallbackState = "waiting"
    answer: str = ""
    settled_ms: int | None = None


@frozen
class Record:
    """What happened on the way, for looking up: a card or an inference. `fields`: figures and hashes, never text."""

    key: str
    kind: Literal["card", "inference"]
    conversation: str
    handler: str
    event: str
    state: str
    fields: Mapping[str, Any] = field(factory=dict)


Effect = Callback | Record


@frozen
class Reservation:
    """Tokens set aside from one or more caps before a call. `caps`: (ledger key, limit) pairs."""

    key: str
    amount: int
    caps: tuple[tuple[str, int], ...]
    partition: int = 0


@frozen
class Counts:
    """How much of each kind there is, for health, metrics and tables."""

    events: int
    waiting: int
    finished: int
    superseded: int
    dead: int
    callbacks_waiting: int
    callbacks_delivered: int
    callbacks_dead: int


class Engine(Protocol):
    """Durable storage. One contract, one conformance suite, several engines.

    Conversations hash to `partitions` partitions. A partition has one owner by compare-and-set of its epoch. Every
    settlement is one atomic write fenced by the epoch: `False` means fenced, nothing was written, stop.
    """

    partitions: int

    async def append(self, arrivals: Sequence[Arrival]) -> list[Appended]:
        """Store events with the deliveries of all their handlers. Durable when it returns."""
        ...

    async def acquire(self, partitions: Collection[int]) -> dict[int, int]:
        """Become owner: {partition: new epoch}. Fences the owner before; charges what it had reserved."""
        ...

    async def release(self, owned: Mapping[int, int]) -> None:
        """Give partitions free (only those still held under the given epoch)."""
        ...

    async def owners(self) -> dict[int, str | None]:
        """{partition: worker id}, None where nobody owns it."""
        ...

    async def beat(self) -> set[str]:
        """Say that this worker lives; get the ids of all workers that live (this one too)."""
        ...

    @property
    def worker(self) -> str:
        """This worker's id."""
        ...

    def tail(self, partition: int, epoch: int) -> AsyncIterator[Delivery]:
        """Unfinished deliveries of the partition in log order, then new ones as they are stored. Ends when fenced."""
        ...

    async def finish(
        self,
        delivery: Delivery,
        epoch: int,
        effects: Sequence[Effect] = (),
        *,
        state: DeliveryState = "finished",
    ) -> bool:
        """Settle a delivery (finished, superseded) and store its effects, each key once, in one step."""
        ...

    async def park(self, delivery: Delivery, epoch: int, *, attempts: int, not_before_ms: int, error: str) -> bool:
        """Keep it for later, remembering how often it failed and why. The caller waits; tail does not repeat it."""
        ...

    async def dead(self, delivery: Delivery, epoch: int, error: str, effects: Sequence[Effect] = ()) -> bool:
        """Give it up, listed with its error. The lane goes on."""
        ...

    def outbox(self, partition: int, epoch: int) -> AsyncIterator[Callback]:
        """Unsent callbacks of the partition in the order they were stored, then new ones. Ends when fenced."""
        ...

    async def outbox_done(self, callback: Callback, epoch: int, *, state: CallbackState, answer: str) -> bool:
        """Settle a callback: delivered or dead, with the status line or error it ended with."""
        ...

    async def outbox_park(
        self, callback: Callback, epoch: int, *, attempts: int, not_before_ms: int, answer: str
    ) -> bool:
        """Keep it for a later try."""
        ...

    async def history(self, conversation: str) -> list[Stored]:
        """The conversation's events in log order."""
        ...

    async def reserve(self, reservation: Reservation) -> bool:
        """Set tokens aside from every cap named, or from none (False) when one would be passed. Again with the
        same key replaces the earlier one.
        """
        ...

    async def settle(self, key: str, used: int) -> None:
        """End a reservation: `used` is charged to each of its caps, the rest is free again. Unknown key: no effect."""
        ...

    async def spent(self, ledger: str) -> tuple[int, int]:
        """(charged, reserved) tokens of a ledger key."""
        ...

    async def counts(self) -> Counts:
        """How much there is."""
        ...

    async def events(self, *, conversation: str = "", after: int = 0, limit: int = 100) -> list[Stored]:
        """Events in log order."""
        ...

    async def event(self, event_id: str) -> Stored | None:
        """One event by its id."""
        ...

    async def deliveries(
        self, *, state: DeliveryState | None = None, conversation: str = "", after: int = 0, limit: int = 100
    ) -> list[Delivery]:
        """Deliveries by log order of their event (`after` is an event's seq), settled ones too."""
        ...

    async def callbacks(
        self, *, state: CallbackState | None = None, conversation: str = "", after: int = 0, limit: int = 100
    ) -> list[Callback]:
        """Callbacks in the order they were stored; `after` counts those to pass over."""
        ...

    async def records(self, *, conversation: str = "", after: int = 0, limit: int = 100) -> list[Record]:
        """Cards and inferences in the order they were stored; `after` counts those to pass over."""
        ...

    async def requeue(self, *, event: str, handler: str) -> bool:
        """Send a dead delivery again (attempts from 0). False: there is none."""
        ...

    async def requeue_callback(self, key: str) -> bool:
        """Send a dead callback again, with the same key and bytes. False: there is none."""
        ...

    async def drop(self, *, event: str, handler: str) -> bool:
        """Forget a dead delivery. False: there is none."""
        ...


# --- the gateway --------------------------------------------------------------------------------------------------


@frozen
class Message:
    """One message of a prompt. Only masked text leaves the house."""

    role: Literal["system", "user", "assistant"]
    content: Masked


@frozen
class Inference:
    """One call of a model. `key` is the Idempotency-Key: the same at every try, and after a crash."""

    key: str
    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.2
    fallback: tuple[str, ...] = ()


@frozen
class Usage:
    """Tokens of one call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@frozen
class Answer:
    """How a call ended. `incomplete`: the stream broke after text had come; `failed`: no text came."""

    text: str
    outcome: Outcome
    model: str
    usage: Usage
    counted_by: CountedBy
    first_token_ms: float | None
    total_ms: float
    error: str = ""


class AnswerStream(Protocol):
    """Pieces of text as they come; afterwards `answer` says how it ended. Leaving early closes the upstream."""

    answer: Answer | None

    def __aiter__(self) -> AsyncIterator[str]:
        """Text, never an empty piece."""
        ...


class Gateway(Protocol):
    """The LLM service."""

    def open_answer(self, inference: Inference) -> AbstractAsyncContextManager[AnswerStream]:
        """Start a call. Raises GatewayError when nothing could be had from the model nor its fallbacks before the
        first token; a break after it is an outcome, not an error.
        """
        ...


# --- the other ends -----------------------------------------------------------------------------------------------


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


# --- the journal --------------------------------------------------------------------------------------------------


class Journal(Protocol):
    """Where everything that happens is noted once, and becomes log records, metrics and what the demo shows."""

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        """One word for what happened (`stored`, `settled`, `answered`, …), and ids and figures. Text only as
        Masked. A field `level` of "warning" or "error" raises the record's level; figures end in their unit.
        """
        ...


# --- the doors ----------------------------------------------------------------------------------------------------


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
