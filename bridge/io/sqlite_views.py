"""Looking up: one connection for reading, in a thread of its own, every answer fetched at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from bridge.io.sqlite_file import SQL, digest
from bridge.io.sqlite_peers import WorkerRow
from bridge.io.sqlite_rows import Row, callback_of, delivery_of, record_of, stored_of
from bridge.ports import Callback, CallbackState, Counts, Delivery, DeliveryState, Record, Stored

P = ParamSpec("P")
R = TypeVar("R")


class Reader:
    """Runs queries in a thread, one after the other; all are short, as a long one holds up the log's checkpoints."""

    def __init__(self, db: sqlite3.Connection, fault: Callable[[BaseException], None]) -> None:
        self._db, self._fault = db, fault
        self._thread = ThreadPoolExecutor(1, "sqlite-reader")

    async def read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The answer of `query(connection, …)`."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, lambda: query(self._db, *args, **kwargs))
        except sqlite3.DatabaseError as error:
            self._fault(error)
            raise

    def close(self) -> None:
        """End the thread and the connection."""
        self._thread.shutdown()
        self._db.close()


def history(db: sqlite3.Connection, conversation: str) -> list[Stored]:
    """A conversation's events in log order."""
    return [stored_of(row) for row in db.execute(SQL["history"], (conversation,))]


def event(db: sqlite3.Connection, event_id: str) -> Stored | None:
    """One event by its id."""
    row = db.execute(SQL["event"], (digest(event_id),)).fetchone()
    return stored_of(row) if row else None


def spent(db: sqlite3.Connection, ledger: str) -> tuple[int, int]:
    """(charged, reserved)."""
    return db.execute(SQL["spent"], (ledger,)).fetchone() or (0, 0)


def owners(db: sqlite3.Connection) -> dict[int, str | None]:
    """{partition: worker}."""
    return dict(db.execute(SQL["owners"]).fetchall())


def workers(db: sqlite3.Connection) -> list[WorkerRow]:
    """Everybody who ever beat and was not struck off."""
    return db.execute(SQL["workers"]).fetchall()


def counts(db: sqlite3.Connection) -> Counts:
    """How much there is, from the tally that every write keeps."""
    return Counts(**dict(db.execute(SQL["counts"]).fetchall()))


def events(db: sqlite3.Connection, conversation: str, after: int, limit: int) -> list[Stored]:
    """Events in log order."""
    rows = _find(db, "stored", {"conversation = ?": conversation, "seq > ?": after}, "seq", limit)
    return [stored_of(row) for row in rows]


def deliveries(
    db: sqlite3.Connection, state: DeliveryState | None, conversation: str, after: int, limit: int
) -> list[Delivery]:
    """Deliveries by log order; more than `limit` rather than a part of an event's, so that `after` misses none."""
    wanted = {"conversation = ?": conversation, **_in_state(state)}
    rows = _find(db, "delivered", {**wanted, "seq > ?": after}, "seq, place", limit)
    if rows and len(rows) == limit:
        last = rows[-1][1]
        rows = [row for row in rows if row[1] < last]
        rows += _find(db, "delivered", {**wanted, "seq = ?": last}, "place", -1)
    return [delivery_of(row) for row in rows]


def callbacks(
    db: sqlite3.Connection, state: CallbackState | None, conversation: str, after: int, limit: int
) -> list[Callback]:
    """Callbacks in the order they were stored."""
    rows = _find(db, "called", {_OF_CONVERSATION: conversation, **_in_state(state)}, "place", limit, after)
    return [callback_of(row) for row in rows]


def records(db: sqlite3.Connection, conversation: str, after: int, limit: int) -> list[Record]:
    """Cards and inferences in the order they were stored."""
    rows = _find(db, "recorded", {_OF_CONVERSATION: conversation}, "place", limit, after)
    return [record_of(row) for row in rows]


# By the events' index: effects have none of their own by conversation.
_OF_CONVERSATION = "seq IN (SELECT seq FROM event WHERE conversation = ?)"


def _in_state(state: str | None) -> dict[str, object]:
    """Written out for the rare states, as SQLite finds a partial index only by the words it was made with."""
    rare = state in {"waiting", "dead"}
    return {f"state = '{state}' AND ?": 1} if rare else {"state = ?": state}


def _find(  # noqa: PLR0913, PLR0917 - a query has that many parts
    db: sqlite3.Connection, view: str, wanted: Mapping[str, object], order: str, limit: int, offset: int = 0
) -> list[Row]:
    """Rows of a view for which all of `wanted` holds; a wish for nothing ("" or None) is none."""
    wishes = {condition: value for condition, value in wanted.items() if value not in ("", None)}
    where = " AND ".join(wishes) or "true"
    query = f"SELECT * FROM {view} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 - only our own words
    return db.execute(query, (*wishes.values(), limit, offset)).fetchall()
