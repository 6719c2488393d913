"""What a replay came to: one JSON line a fact, and the figures of its table. Made from the engine alone, so that a
replay that was killed and went on gives the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from statistics import quantiles
from typing import Any, TypeVar

from attrs import define, field

from bridge.core.codec import load
from bridge.core.events import Utterance
from bridge.errors import PayloadError
from bridge.ports import Callback, Delivery, Engine, Record, Stored

T = TypeVar("T")
BATCH = 1_000

FAULTS = ("lost", "order broken", "deliveries dead", "deliveries waiting", "callbacks dead", "callbacks waiting")
"""Rows of the table that are 0 when all went well."""


@define
class Results:
    """Everything the engine holds, read once."""

    events: list[Stored] = field(factory=list)
    deliveries: dict[str, list[Delivery]] = field(factory=lambda: defaultdict(list))
    callbacks: list[Callback] = field(factory=list)
    records: list[Record] = field(factory=list)


async def read_results(engine: Engine) -> Results:
    """All events, deliveries, callbacks and records of an engine."""
    results = Results()
    results.events = [
        one async for one in _pages(lambda n, got: engine.events(after=got[-1].seq if got else 0, limit=n))
    ]
    after = 0
    while batch := await engine.deliveries(after=after, limit=BATCH):
        # A page may end between two deliveries of one event; the last event's are read again with the next page.
        last = batch[-1].event.seq
        whole = batch if len(batch) < BATCH else [one for one in batch if one.event.seq < last]
        for one in whole:
            results.deliveries[one.event.id].append(one)
        after = last if len(batch) < BATCH else last - 1
    results.callbacks = [one async for one in _pages(lambda n, got: engine.callbacks(after=len(got), limit=n))]
    results.records = [one async for one in _pages(lambda n, got: engine.records(after=len(got), limit=n))]
    return results


async def _pages(page: Callable[[int, list[T]], Awaitable[list[T]]]) -> AsyncIterator[T]:
    got: list[T] = []
    while batch := await page(BATCH, got):
        got += batch
        for one in batch:
            yield one


def result_lines(results: Results) -> Iterable[dict[str, Any]]:
    """One line a fact: events with what became of their deliveries, then cards and inferences, then callbacks."""
    for stored in results.events:
        yield {
            "kind": "event",
            "conversation": stored.conversation,
            "handler": None,
            "event": stored.id,
            "key": stored.id,
            "state": "stored",
            "seq": stored.seq,
            "class": stored.kind,
            "received_ms": stored.received_ms,
            "deliveries": [_delivery(one) for one in results.deliveries.get(stored.id, ())],
        }
    for record in results.records:
        yield {**_ids(record), "kind": record.kind, "key": record.key, "state": record.state, **record.fields}
    for callback in results.callbacks:
        yield {
            **_ids(callback),
            "kind": "callback",
            "key": callback.key,
            "state": callback.state,
            "destination": callback.destination,
            "name": callback.name,
            "payload_sha256": hashlib.sha256(callback.payload).hexdigest(),
            "attempts": callback.attempts,
            "settled_ms": callback.settled_ms,
        }


def _ids(one: Record | Callback) -> dict[str, Any]:
    return {"conversation": one.conversation, "handler": one.handler, "event": one.event}


def _delivery(one: Delivery) -> dict[str, Any]:
    return {"handler": one.handler, "state": one.state, "attempts": one.attempts, "settled_as": one.settled_as}


def figures(results: Results, expected: set[str], *, timed: bool) -> dict[str, int | float | str]:
    """The rows of the table. `expected`: the ids that were read, each of which must be stored."""
    stored = {one.id for one in results.events}
    deliveries = Counter(one.state for several in results.deliveries.values() for one in several)
    cards = Counter(record.state for record in results.records if record.kind == "card")
    calls = [record.fields for record in results.records if record.kind == "inference"]
    callbacks = Counter(one.state for one in results.callbacks)
    rows: dict[str, int | float | str] = {
        "events": len(results.events),
        "conversations": len({one.conversation for one in results.events}),
        "deliveries finished": deliveries["finished"],
        "deliveries dead": deliveries["dead"],
        "suggestions shown": cards["ready"],
        "suggestions superseded": deliveries["superseded"],
        "suggestions expired": cards["expired"],
        "suggestions withheld or failed": cards["withheld"] + cards["failed"],
    }
    if timed:
        rows["shown before the agent's next words"] = shown_in_time(results)
    rows |= {
        "prompt tokens": sum(call["prompt_tokens"] for call in calls),
        "completion tokens": sum(call["completion_tokens"] for call in calls),
        **_first_tokens([call["first_token_ms"] for call in calls if call["first_token_ms"] is not None]),
        "callbacks delivered": callbacks["delivered"],
        "callbacks dead": callbacks["dead"],
        "callbacks waiting": callbacks["waiting"],
        "deliveries waiting": deliveries["waiting"],
        "lost": len(expected - stored),
        "order broken": order_broken(results),
    }
    return rows


def _first_tokens(waits: Sequence[float]) -> dict[str, float]:
    if len(waits) < 2:
        return {"first token p50, ms": round(waits[0], 1)} if waits else {}
    cuts = quantiles(waits, n=20, method="inclusive")
    return {"first token p50, ms": round(cuts[9], 1), "first token p95, ms": round(cuts[18], 1)}


def order_broken(results: Results) -> int:
    """How many deliveries of a lane were settled before one that came earlier in the log."""
    latest: dict[tuple[str, str], int] = {}
    broken = 0
    for stored in results.events:
        for one in results.deliveries.get(stored.id, ()):
            if one.settled_as is None:
                continue
            lane = (one.handler, stored.conversation)
            broken += one.settled_as < latest.get(lane, 0)
            latest[lane] = max(latest.get(lane, 0), one.settled_as)
    return broken


def shown_in_time(results: Results) -> int:
    """How many finished cards had their first words on the panel before the agent spoke next."""
    replies = _agent_starts(results.events)
    cards = [one for one in results.records if one.kind == "card" and one.state == "ready"]
    return sum(_in_time(card.fields, replies.get(card.conversation, ())) for card in cards)


def _in_time(card: Mapping[str, Any], agent_starts: Sequence[int]) -> bool:
    """In the conversation's own time: when the words were told to us, and what it took from there on our clock."""
    if card["first_shown_ms"] is None:
        return False
    shown_ms = card["told_ms"] + card["first_shown_ms"] - card["received_ms"]
    following = next((start for start in agent_starts if start >= card["said_ms"]), None)
    return following is None or shown_ms < following


def _agent_starts(events: Iterable[Stored]) -> dict[str, list[int]]:
    starts: dict[str, list[int]] = defaultdict(list)
    for stored in events:
        if stored.kind != "Utterance":
            continue
        try:
            said = load(stored.kind, stored.body)
        except PayloadError:
            continue
        if isinstance(said, Utterance) and said.speaker == "agent":
            starts[stored.conversation].append(said.start_ms)
    return {conversation: sorted(several) for conversation, several in starts.items()}
