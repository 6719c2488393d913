"""Where all doors end: an envelope becomes events, and they are stored with the deliveries of their handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from bridge.core.codec import dump, load
from bridge.core.events import CustomerLeft, Event
from bridge.core.genesys import ended, has_ended, parse
from bridge.errors import PayloadError
from bridge.ports import Accepted, Appended, Arrival, Bus, Clock, Engine, Journal
from bridge.router import Router

LIFE = frozenset({"ConversationStarted", "CustomerLeft"})


@define
class Intake:
    """Implements `ports.Accept`."""

    engine: Engine
    router: Router
    bus: Bus
    clock: Clock
    journal: Journal
    _unhandled: set[str] = field(init=False, factory=set)

    async def __call__(self, envelope: Mapping[str, Any], *, received_ms: int | None = None) -> Accepted:
        """Store what the envelope tells. Durable when it returns; raises RejectedError (422, 503)."""
        events = parse(envelope)
        if not events:
            raise PayloadError("the envelope is a control frame: it tells of no event")
        when = self.clock.now_ms() if received_ms is None else received_ms
        ends = await self._ends(events, events)
        appended = (await self._append([*events, *ends], when))[: len(events)]
        if not ends and (missed := await self._ends(events, ())):
            await self._append(missed, when)
        return Accepted(appended[0].id, all(one.duplicate for one in appended))

    async def _append(self, events: Sequence[Event], received_ms: int) -> list[Appended]:
        appended = await self.engine.append([self._arrival(event, received_ms) for event in events])
        for event, one in zip(events, appended, strict=True):
            self.journal.note(
                "repeated" if one.duplicate else "stored",
                event=event.id,
                kind=type(event).__name__,
                conversation=event.conversation,
                seq=one.seq,
                level="debug",  # the engine lists every event; a log line each would cost as much as storing it
            )
            if not one.duplicate and event.conversation:
                self.bus.publish(event.conversation, b'{"type":"event"}')
        return appended

    def _arrival(self, event: Event, received_ms: int) -> Arrival:
        kind, body = dump(event)
        routes = self.router.match(event)
        if not routes and kind not in self._unhandled:
            self._unhandled.add(kind)
            self.journal.note("unhandled", kind=kind, paste=_stub(kind))
        wanted = tuple((route.name, route.mode) for route in routes)
        return Arrival(event.id, event.conversation, kind, body, received_ms, wanted)

    async def _ends(self, events: Sequence[Event], told: Sequence[Event]) -> list[Event]:
        """The ends of the conversations whose last customer has left, judged by what is stored and what is `told`.

        Stored in one write with the leaving. Where two customers leave at once, in two processes, each sees the other
        only afterwards: then it is looked at again, and the end's id makes it happen once.
        """
        ends: list[Event] = []
        for left in (event for event in events if isinstance(event, CustomerLeft)):
            stored = await self.engine.history(left.conversation)
            known = (load(one.kind, one.body) for one in stored if one.kind in LIFE)
            if has_ended([*known, *(event for event in told if event.conversation == left.conversation)]):
                ends.append(ended(left))
        return ends


def _stub(kind: str) -> str:
    """What to paste to handle events of that class."""
    return f"@router.on({kind})\nasync def on_{kind.lower()}(event: {kind}, ctx: Context) -> None: ..."
