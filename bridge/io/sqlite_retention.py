"""Forgetting: what is settled for long enough goes, in small steps between other writes; the file gives pages back."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import orjson
from attrs import frozen

from bridge.core.retention import events_before, ledgers_before
from bridge.io.sqlite_file import SQL
from bridge.io.sqlite_turn import Turn

_STEP = 64
_PAGES = 256


@frozen
class Place:
    """How far a round has come: the last event and the last ledger it looked at."""

    event: int
    ledger: int


START = Place(0, 0)


def retire(turn: Turn, asked: Sequence[tuple[Place, int]]) -> list[Place]:
    """One step of a round, for (place, how many ms things are kept): the next place; START when it is through."""
    turn.after.append(partial(_give_back, turn.db))
    return [
        Place(_retire_events(turn, place.event, keep_ms), _retire_ledgers(turn, place.ledger, keep_ms))
        for place, keep_ms in asked
    ]


def _retire_events(turn: Turn, after: int, keep_ms: int) -> int:
    rows = turn.db.execute(SQL["expired"], (after, events_before(turn.now_ms, keep_ms), _STEP)).fetchall()
    if gone := [seq for seq, settled in rows if settled]:
        _delete(turn, orjson.dumps(gone).decode())
        turn.tally["events"] -= len(gone)
    return rows[-1][0] if len(rows) == _STEP else 0


def _delete(turn: Turn, seqs: str) -> None:
    for prefix, query in (("", "delete_deliveries"), ("callbacks_", "delete_callbacks")):
        for state, count in Counter(turn.db.execute(SQL[query], (seqs,)).fetchall()).items():
            turn.tally[prefix + state[0]] -= count
    turn.db.execute(SQL["delete_records"], (seqs,))
    turn.db.execute(SQL["delete_events"], (seqs,))


def _retire_ledgers(turn: Turn, after: int, keep_ms: int) -> int:
    cutoff = ledgers_before(turn.now_ms, keep_ms)
    rows = turn.db.execute(SQL["next_ledgers"], (after, _STEP)).fetchall()
    gone = [number for number, touched_ms, reserved in rows if touched_ms < cutoff and not reserved]
    turn.db.execute(SQL["delete_ledgers"], (orjson.dumps(gone).decode(),))
    return rows[-1][0] if len(rows) == _STEP else 0


def _give_back(db: sqlite3.Connection) -> None:
    """Free pages are used again; when they are a quarter of the file, the disk gets some of them back."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if free * 4 > pages:
        # Only a script runs this pragma to its end; `execute` would free a single page.
        with suppress(sqlite3.OperationalError):  # it is no loss: the next step tries again
            db.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
