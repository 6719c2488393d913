"""Looking things up and sending them again: events, deliveries, callbacks, dead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import orjson
from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table

from bridge.app import open_engine
from bridge.cli.running import DONE, FAILED, refuse, run, settings_or_exit
from bridge.core.masking import Vault, hide
from bridge.errors import ConfigError
from bridge.ports import Callback, CallbackState, Delivery, DeliveryState, Engine, Stored

T = TypeVar("T")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
limit = click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
conversation = click.option("--conversation", default="", help="Only this conversation.")


@click.group()
def events() -> None:
    """What came in."""


@events.command("list")
@conversation
@limit
@as_json
def list_events(conversation: str, limit: int, *, as_json: bool) -> None:
    """Events in the order they were stored."""
    found = _ask(lambda engine: engine.events(conversation=conversation, limit=limit))
    _print([_event_row(one) for one in found], as_json=as_json)


@events.command("show")
@click.argument("event_id")
def show_event(event_id: str) -> None:
    """One event, masked."""
    found = _ask(lambda engine: engine.event(event_id))
    if found is None:
        raise click.ClickException(f"there is no event {event_id}; `bridge events list` shows those there are")
    _print([{**_event_row(found), "body": _masked(found.body)}], as_json=True)


@click.group()
def deliveries() -> None:
    """What the handlers were given."""


@deliveries.command("list")
@click.option("--state", type=click.Choice(get_args(DeliveryState)))
@conversation
@limit
@as_json
def list_deliveries(state: DeliveryState | None, conversation: str, limit: int, *, as_json: bool) -> None:
    """Deliveries in the order of their events."""
    found = _ask(lambda engine: engine.deliveries(state=state, conversation=conversation, limit=limit))
    _print([_delivery_row(one) for one in found], as_json=as_json)


@deliveries.command("show")
@click.argument("event_id")
def show_deliveries(event_id: str) -> None:
    """Every delivery of one event."""
    event = _ask(lambda engine: engine.event(event_id))
    if event is None:
        raise click.ClickException(f"there is no event {event_id}; `bridge events list` shows those there are")
    found = _ask(lambda engine: engine.deliveries(conversation=event.conversation, after=event.seq - 1, limit=100))
    _print([{**_delivery_row(one), "error": one.error} for one in found if one.event.id == event_id], as_json=True)


@click.group()
def callbacks() -> None:
    """What was posted to CRMs."""


@callbacks.command("list")
@click.option("--state", type=click.Choice(get_args(CallbackState)))
@conversation
@limit
@as_json
def list_callbacks(state: CallbackState | None, conversation: str, limit: int, *, as_json: bool) -> None:
    """Callbacks in the order they were stored."""
    found = _ask(lambda engine: engine.callbacks(state=state, conversation=conversation, limit=limit))
    _print([_callback_row(one) for one in found], as_json=as_json)


@callbacks.command("show")
@click.argument("key")
def show_callback(key: str) -> None:
    """One callback with its payload, which is masked already."""
    found = [one for one in _ask(_all_callbacks) if one.key == key]
    if not found:
        raise click.ClickException(f"there is no callback {key}; `bridge callbacks list` shows those there are")
    _print([{**_callback_row(found[0]), "payload": orjson.loads(found[0].payload)}], as_json=True)


@click.group()
def dead() -> None:
    """What was given up: look at it, send it again, or drop it."""


@dead.command("list")
@limit
@as_json
def list_dead(limit: int, *, as_json: bool) -> None:
    """Dead deliveries and callbacks."""
    lost = _ask(lambda engine: engine.deliveries(state="dead", limit=limit))
    unsent = _ask(lambda engine: engine.callbacks(state="dead", limit=limit))
    rows = [{**_delivery_row(one), "error": _last(one.error)} for one in lost]
    _print(rows + [_callback_row(one) for one in unsent], as_json=as_json)


@dead.command("retry")
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead delivery and callback.")
def retry_dead(keys: tuple[str, ...], *, everything: bool) -> None:
    """Send again. KEYS are those of `bridge dead list`: event:handler of a delivery, or a callback's key."""
    change = _Change(_again, _all_dead, "sent again", "is not dead, or there is no such key")
    _change(keys, change, everything=everything)


@dead.command("drop")
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead delivery.")
def drop_dead(keys: tuple[str, ...], *, everything: bool) -> None:
    """Forget dead deliveries. KEYS are those of `bridge dead list`; a dead callback stays, and can be sent again."""
    change = _Change(_drop, _dead_deliveries, "dropped", "is no dead delivery")
    _change(keys, change, everything=everything)


@frozen
class _Change:
    """What is done with a dead key, which keys --all means, and what is said of each."""

    make: Callable[[Engine, str], Awaitable[bool]]
    all_keys: Callable[[Engine], AsyncIterator[str]]
    done: str
    refused: str


def _change(keys: tuple[str, ...], change: _Change, *, everything: bool) -> None:
    if bool(keys) == everything:
        raise click.UsageError("name the keys, or --all; `bridge dead list` shows them")

    async def each(engine: Engine) -> list[tuple[str, bool]]:
        chosen = [key async for key in change.all_keys(engine)] if everything else keys
        return [(key, await change.make(engine, key)) for key in chosen]

    done = _ask(each)
    for key, ok in done:
        click.echo(f"{key}: {change.done if ok else change.refused}", err=not ok)
    raise SystemExit(DONE if all(ok for _, ok in done) else FAILED)


async def _dead_deliveries(engine: Engine) -> AsyncIterator[str]:
    """A page may end in the middle of an event, so the next one begins with that event again."""
    seen: set[str] = set()
    after = 0
    while batch := [one for one in await engine.deliveries(state="dead", after=after) if one.key not in seen]:
        for one in batch:
            seen.add(one.key)
            yield one.key
        after = batch[-1].event.seq - 1


async def _all_dead(engine: Engine) -> AsyncIterator[str]:
    async for key in _dead_deliveries(engine):
        yield key
    for callback in await _all_callbacks(engine):
        if callback.state == "dead":
            yield callback.key


async def _all_callbacks(engine: Engine) -> list[Callback]:
    found: list[Callback] = []
    while batch := await engine.callbacks(after=len(found), limit=500):
        found += batch
    return found


async def _again(engine: Engine, key: str) -> bool:
    event, _, handler = key.rpartition(":")
    return await engine.requeue(event=event, handler=handler) or await engine.requeue_callback(key)


async def _drop(engine: Engine, key: str) -> bool:
    event, _, handler = key.rpartition(":")
    return await engine.drop(event=event, handler=handler)


def _ask(question: Callable[[Engine], Awaitable[T]]) -> T:
    """Look into the engine of the settings. Looking makes no engine: an empty one would hide a wrong path."""
    settings = settings_or_exit("engine")
    path = Path(settings.engine.path).absolute()
    if not path.exists():
        refuse(ConfigError([f"engine.path: there is no {path} yet; `bridge serve` makes it when it first runs"]))

    async def asked() -> T:
        async with open_engine(settings) as engine:
            return await question(engine)

    return run(asked())


def _event_row(one: Stored) -> dict[str, Any]:
    fields = ("seq", "id", "kind", "conversation", "received_ms")
    return {name: getattr(one, name) for name in fields}


def _delivery_row(one: Delivery) -> dict[str, Any]:
    row = {"key": one.key, "handler": one.handler, "conversation": one.event.conversation, "state": one.state}
    return {**row, "attempts": one.attempts, "settled_ms": one.settled_ms}


def _callback_row(one: Callback) -> dict[str, Any]:
    row = asdict(one, filter=lambda field, _: field.name not in {"payload", "partition", "handler", "event"})
    return {**row, "answer": hide(one.answer, Vault()).text}  # a CRM may quote what it was sent, or what it knows


def _masked(body: bytes) -> str:
    return hide(body.decode("utf-8", "replace"), Vault()).text


def _last(error: str) -> str:
    return (error.strip().splitlines() or [""])[-1]


def _print(rows: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    rows = list(rows)
    console = Console()
    if as_json or not console.is_terminal:
        for row in rows:
            click.echo(orjson.dumps(row).decode())
        return
    if not rows:
        console.print("nothing")
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(str(value if value is not None else "") for value in row.values()))
    console.print(table)
