"""What the writer does with the log: append, settle, own. Each step takes all operations of its kind in a batch."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
from attrs import evolve, frozen

from bridge.core.partition import partition_of
from bridge.io.sqlite_file import SQL, digest, many, returned
from bridge.io.sqlite_peers import WorkerRow
from bridge.io.sqlite_rows import pack
from bridge.io.sqlite_turn import Turn
from bridge.ports import (
    Appended,
    Arrival,
    Callback,
    CallbackState,
    Delivery,
    DeliveryState,
    Effect,
    Record,
)


@frozen
class Settlement:
    """What becomes of a delivery; `waiting` parks it. `attempts` None: as they were, one more when dead."""

    delivery: Delivery
    epoch: int
    state: DeliveryState
    attempts: int | None = None
    not_before_ms: int = 0
    error: str = ""
    effects: tuple[Effect, ...] = ()


@frozen
class Answered:
    """What becomes of a callback; `waiting` parks it."""

    callback: Callback
    epoch: int
    state: CallbackState
    attempts: int | None = None
    not_before_ms: int = 0
    answer: str = ""


# --- the log ------------------------------------------------------------------------------------------------------


def append(turn: Turn, asked: Sequence[Sequence[Arrival]]) -> list[list[Appended]]:
    """Store what is not known yet, with its deliveries."""
    keyed = [[(digest(arrival.id), arrival) for arrival in group] for group in asked]
    firsts: dict[bytes, Arrival] = {}
    for key, arrival in chain.from_iterable(keyed):
        firsts.setdefault(key, arrival)
    rows = [
        (key, new.id, new.conversation, new.kind, new.received_ms, turn.now_ms, pack(new.body))
        for key, new in firsts.items()
    ]
    fresh: dict[bytes, int] = dict(returned(turn.db, "append_events", rows))
    turn.tally["events"] += len(fresh)
    _deliver(turn, [(fresh[key], arrival) for key, arrival in firsts.items() if key in fresh])
    known = dict(returned(turn.db, "known_events", [(key,) for key in firsts if key not in fresh]))
    return [[_appended(key, arrival, fresh, known) for key, arrival in group] for group in keyed]


def _appended(key: bytes, arrival: Arrival, fresh: dict[bytes, int], known: dict[bytes, int]) -> Appended:
    """The first of a key in a batch is new; it moves to the known ones, for those that repeat it."""
    duplicate = key in known
    if not duplicate:
        known[key] = fresh[key]
    return Appended(arrival.id, known[key], duplicate)


def _deliver(turn: Turn, events: Sequence[tuple[int, Arrival]]) -> None:
    """One delivery for each handler that wants an event."""
    wishes = [
        (seq, arrival, handler, mode, partition_of(arrival.conversation, len(turn.epochs)))
        for seq, arrival in events
        for handler, mode in arrival.wanted
    ]
    rows = [(seq, handler, partition, mode) for seq, _, handler, mode, partition in wishes]
    places = [place for cursor in many(turn.db, "append_deliveries", rows) for place in _places(cursor)]
    turn.tally["waiting"] += len(places)
    turn.deliveries += [(place, *wish) for place, wish in zip(places, wishes, strict=True)]


def _places(cursor: sqlite3.Cursor) -> range:
    """The numbers that a many-row insert gave: one after the other, for nobody else writes meanwhile."""
    last = cursor.lastrowid or 0
    return range(last - cursor.rowcount + 1, last + 1)


# --- settlements --------------------------------------------------------------------------------------------------


def settle_deliveries(turn: Turn, asked: Sequence[Settlement]) -> list[bool]:
    """Settle or park, and store the effects, of those whose epoch holds and that still wait."""
    firsts: dict[tuple[int, str], Settlement] = {}
    for one in asked:
        if not turn.fences(one.delivery.partition, one.epoch):
            firsts.setdefault((one.delivery.event.seq, one.delivery.handler), one)
    rows = [(*place, *_settlement_row(turn, one)) for place, one in firsts.items()]
    settled = set(returned(turn.db, "settle_deliveries", rows))
    written = [one for place, one in firsts.items() if place in settled]
    for one in written:
        if one.state != "waiting":
            turn.tally[one.state] += 1
            turn.tally["waiting"] -= 1
    _store_callbacks(turn, written)
    _store_records(turn, written)
    done = set(map(id, written))
    return [id(one) in done for one in asked]


def _settlement_row(turn: Turn, one: Settlement) -> tuple[Any, ...]:
    parked = one.state == "waiting"
    when = (None, None) if parked else (turn.now_ms, turn.next_settlement())
    return (one.state, one.attempts, one.not_before_ms, _legible(one.error), *when)


def _legible(text: str) -> str:
    """Errors can quote half a surrogate pair, which no UTF-8 can hold; that must not keep a delivery from dying."""
    return text.encode("utf-8", "backslashreplace").decode()


def _store_callbacks(turn: Turn, settled: Sequence[Settlement]) -> None:
    """Each key once: what is known already keeps the bytes it was stored with."""
    wished: dict[bytes, tuple[int, Callback]] = {}
    for one in settled:
        for effect in one.effects:
            if isinstance(effect, Callback):
                fixed = evolve(effect, partition=one.delivery.partition, stored_ms=turn.now_ms)
                wished.setdefault(digest(effect.key), (one.delivery.event.seq, fixed))
    places = dict(returned(turn.db, "store_callbacks", [_callback_row(key, *wish) for key, wish in wished.items()]))
    turn.tally["callbacks_waiting"] += len(places)
    turn.callbacks += [(places[key], callback) for key, (_, callback) in wished.items() if key in places]


def _callback_row(key: bytes, seq: int, new: Callback) -> tuple[Any, ...]:
    return (
        key, seq, new.key, new.conversation, new.handler, new.event, new.destination, new.name, new.payload,
        new.partition, new.not_before_ms, new.stored_ms,
    )  # fmt: skip


def _store_records(turn: Turn, settled: Sequence[Settlement]) -> None:
    rows = [
        (digest(f"{new.kind}:{new.key}"), one.delivery.event.seq, new.key, new.kind, new.conversation, new.handler,
         new.event, new.state, orjson.dumps(dict(new.fields)))
        for one in settled
        for new in one.effects
        if isinstance(new, Record)
    ]  # fmt: skip
    for _ in many(turn.db, "store_records", rows):
        pass


def settle_callbacks(turn: Turn, asked: Sequence[Answered]) -> list[bool]:
    """Settle or park callbacks, of those whose epoch holds and that still wait."""
    firsts: dict[bytes, Answered] = {}
    for one in asked:
        if not turn.fences(one.callback.partition, one.epoch):
            firsts.setdefault(digest(one.callback.key), one)
    rows = [
        (key, one.state, one.attempts, one.not_before_ms, _legible(one.answer), _settled_ms(turn, one))
        for key, one in firsts.items()
    ]
    settled = {key for (key,) in returned(turn.db, "settle_callbacks", rows)}
    written = {id(one) for key, one in firsts.items() if key in settled}
    for one in asked:
        if id(one) in written and one.state != "waiting":
            turn.tally[f"callbacks_{one.state}"] += 1
            turn.tally["callbacks_waiting"] -= 1
    return [id(one) in written for one in asked]


def _settled_ms(turn: Turn, one: Answered) -> int | None:
    return None if one.state == "waiting" else turn.now_ms


# --- the operator -------------------------------------------------------------------------------------------------


def requeue(turn: Turn, asked: Sequence[tuple[str, str]]) -> list[bool]:
    """Dead (event id, handler) wait again, at the end of their tail."""
    return [_again(turn, "requeue_delivery", (digest(event), handler), "") for event, handler in asked]


def requeue_callback(turn: Turn, asked: Sequence[str]) -> list[bool]:
    """Dead callbacks, by key, wait again."""
    return [_again(turn, "requeue_callback", (digest(key),), "callbacks_") for key in asked]


def _again(turn: Turn, query: str, of: tuple[Any, ...], prefix: str) -> bool:
    found = turn.db.execute(SQL[query], of).rowcount > 0
    if found:
        turn.requeued = True
        turn.tally[f"{prefix}dead"] -= 1
        turn.tally[f"{prefix}waiting"] += 1
    return found


def drop(turn: Turn, asked: Sequence[tuple[str, str]]) -> list[bool]:
    """Forget dead (event id, handler)."""
    found = [turn.db.execute(SQL["drop_delivery"], (digest(event), handler)).rowcount > 0 for event, handler in asked]
    turn.tally["dead"] -= sum(found)
    return found


# --- owners -------------------------------------------------------------------------------------------------------


def acquire(turn: Turn, asked: Sequence[Collection[int]]) -> list[dict[int, int]]:
    """Own partitions under a new epoch; what the owner before had reserved counts as used."""
    return [_acquire(turn, orjson.dumps(sorted(set(numbers))).decode()) for numbers in asked]


def _acquire(turn: Turn, numbers: str) -> dict[int, int]:
    epochs: dict[int, int] = dict(turn.db.execute(SQL["acquire"], (turn.worker, numbers)).fetchall())
    turn.db.execute(SQL["charge_leftovers"], (turn.now_ms, numbers))
    turn.db.execute(SQL["drop_leftovers"], (numbers,))
    turn.move(epochs)
    return epochs


def release(turn: Turn, asked: Sequence[Mapping[int, int]]) -> list[None]:
    """Give partitions free. Their epoch moves, so that nothing is written under it later."""
    for owned in asked:
        for number, epoch in owned.items():
            if not turn.fences(number, epoch):
                turn.db.execute(SQL["release"], (number, epoch))
                turn.move({number: epoch + 1})
    return [None] * len(asked)


def leave(turn: Turn, asked: Sequence[str]) -> list[None]:
    """Give everything free that this worker owns, and strike it off the list."""
    turn.move(dict(turn.db.execute(SQL["leave"], (turn.worker,)).fetchall()))
    for lock_path in asked:
        turn.db.execute(SQL["forget_worker"], (turn.worker, lock_path))
    return [None] * len(asked)


def beat(turn: Turn, asked: Sequence[str]) -> list[None]:
    """Say that this worker lives, with its lock file."""
    for lock_path in asked:
        turn.db.execute(SQL["beat"], (turn.worker, lock_path))
    return [None] * len(asked)


def forget_worker(turn: Turn, asked: Sequence[WorkerRow]) -> list[None]:
    """Strike dead workers off the list."""
    for worker, _, lock_path in asked:
        turn.db.execute(SQL["forget_worker"], (worker, lock_path))
    return [None] * len(asked)
