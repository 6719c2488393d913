"""One transaction of the writer, and what it means for the tails."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from attrs import Factory, define

from bridge.io.sqlite_file import SQL
from bridge.ports import Arrival, Callback, Delivery, Mode

A = TypeVar("A")
R = TypeVar("R")


@define
class News:
    """What a commit means for the tails: new rows by their place, and the epochs where they moved."""

    deliveries: list[tuple[int, Delivery]] = Factory(list)
    callbacks: list[tuple[int, Callback]] = Factory(list)
    epochs: dict[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.callbacks) or self.epochs is not None


Placed = tuple[int, int, Arrival, str, Mode, int]
"""A delivery that an append stored: place, seq, event, handler, mode, partition."""


@define
class Turn:
    """One transaction in the making: what the steps of a batch share."""

    db: sqlite3.Connection
    worker: str
    now_ms: int
    deliveries: list[Placed] = Factory(list)
    callbacks: list[tuple[int, Callback]] = Factory(list)
    tally: Counter[str] = Factory(Counter)
    requeued: bool = False
    moved: bool = False
    """Whether tails must look at their epochs."""
    after: list[Callable[[], None]] = Factory(list)
    """What can only be done outside of a transaction, once this one is committed."""
    _epochs: dict[int, int] | None = None
    _settled: int | None = None

    @property
    def epochs(self) -> dict[int, int]:
        """{partition: epoch} as this transaction sees it."""
        if self._epochs is None:
            self._epochs = dict(self.db.execute(SQL["epochs"]).fetchall())
        return self._epochs

    def fences(self, partition: int, epoch: int) -> bool:
        """Whether the partition has gone to another epoch. If so, its tails here end."""
        if self.epochs.get(partition) == epoch:
            return False
        self.moved = True
        return True

    def move(self, epochs: dict[int, int]) -> None:
        """Note new epochs."""
        self.epochs.update(epochs)
        self.moved = True

    def next_settlement(self) -> int:
        """The number of one more settlement, counted over the whole file."""
        if self._settled is None:
            self._settled = int(self.db.execute(SQL["settled"]).fetchone()[0])
        self._settled += 1
        self.tally["settled"] += 1
        return self._settled

    def close(self) -> None:
        """Write the tally down."""
        for name, change in self.tally.items():
            if change:
                self.db.execute(SQL["count"], (change, name))


Step = Callable[[Turn, Sequence[A]], Sequence[R]]
"""Does all operations of one kind in a batch, and answers each."""


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit, or roll back when the block or the commit fails."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
