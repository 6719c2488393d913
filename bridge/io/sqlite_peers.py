"""Who lives: every worker holds a lock on a file of its own, which the kernel lets go the moment it dies, and counts
beats in the worker table, which a hung one stops doing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from attrs import define, field

WorkerRow = tuple[str, int, str]
"""id, beats, lock file"""


class OwnLock:
    """A locked file beside the database. The kernel lets go of it when this process dies, however it dies."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.{uuid4().hex}.lock")
        self._handle: int | None = None

    def take(self) -> str:
        """Lock the file, which has a name of its own, before anybody can know of it; again: nothing. Its path."""
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        return str(self.path)

    def drop(self) -> None:
        """Let go and remove the file."""
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


@define
class Peers:
    """Judges the worker table. `lease`: seconds without a beat after which a worker counts as hung."""

    me: str
    lease: float
    _seen: dict[str, tuple[int, float]] = field(init=False, factory=dict)
    """{worker: its beats, when they last changed}, by our own monotonic clock: no clocks need to agree"""

    def judge(self, workers: Iterable[WorkerRow], now: float) -> tuple[set[str], list[tuple[str, str]]]:
        """Those that live, and those that are dead as (id, lock file). Hung ones are neither: they may wake up."""
        rows = list(workers)
        dead = [(worker, lock) for worker, _, lock in rows if worker != self.me and not is_locked(lock)]
        gone = {worker for worker, _ in dead}
        self._seen = {
            worker: (beats, now if self._seen.get(worker, (None, 0.0))[0] != beats else self._seen[worker][1])
            for worker, beats, _ in rows
            if worker not in gone
        }
        return {me for me, (_, since) in self._seen.items() if me == self.me or now - since < self.lease}, dead


def is_locked(path: str) -> bool:
    """Whether a living process holds the lock file."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
