"""Who lives.

Every worker holds a lock on a file of its own, which the kernel lets go the moment it dies, and counts beats in the
worker table, which a hung one stops doing.
"""

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

    def close(self) -> None:
        """Let go and remove the file."""
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


@define
class Peers:
    """Judges the rows of the other workers."""

    _seen: dict[str, tuple[int, float]] = field(init=False, factory=dict)
    """{lock file: its worker's beats, when they last changed}, by our own clock: no two clocks need to agree"""

    def judge(self, workers: Iterable[WorkerRow], now: float, lease: float) -> tuple[set[str], list[WorkerRow]]:
        """Ids of those that live, and rows of those that are dead.

        One that has not beaten for `lease` seconds is hung: neither, for it may wake up.
        """
        alive, dead = set(), []
        for row in workers:
            worker, beats, lock = row
            if not is_locked(lock):
                dead.append(row)
                self._seen.pop(lock, None)
                continue
            if lock not in self._seen or self._seen[lock][0] != beats:
                self._seen[lock] = (beats, now)
            if now - self._seen[lock][1] < lease:
                alive.add(worker)
        return alive, dead


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


def remove_lock(dead: WorkerRow) -> None:
    """Clean up behind a dead worker."""
    Path(dead[2]).unlink(missing_ok=True)
