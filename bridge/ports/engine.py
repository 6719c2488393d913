"""What is kept, and the engine that keeps it. Times are milliseconds UTC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from attrs import field, frozen

Mode = Literal["ordered", "latest"]
DeliveryState = Literal["waiting", "finished", "superseded", "dead"]
CallbackState = Literal["waiting", "delivered", "dead"]


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
