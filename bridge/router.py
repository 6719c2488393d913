"""Which handler wants which event.

router = Router("assist")

@router.on(Utterance, when=lambda said: said.speaker == "customer", mode="latest")
async def suggest(said: Utterance, ctx: Context) -> None: ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from attrs import define, field, frozen

from bridge.core.events import Event
from bridge.errors import ConfigError
from bridge.ports import Mode

if TYPE_CHECKING:
    from bridge.context import Context

E = TypeVar("E", bound=Event)
Handler = Callable[[E, "Context"], Awaitable[None]]


def _always(_: Event) -> bool:
    return True


@frozen
class Route:
    """One handler's wish: events of `kind` for which `when` is true, in `mode`."""

    name: str
    kind: type[Event]
    handler: Handler[Any]
    when: Callable[[Any], bool]
    mode: Mode

    def wants(self, event: Event) -> bool:
        """Whether this route gets a delivery of the event.

        `when` is the users' code and may raise anything. No door may fail by it: then yes, and `handle` raises it
        again where it is retried, listed and seen.
        """
        try:
            return isinstance(event, self.kind) and self.when(event)
        except Exception:  # noqa: BLE001 - see above
            return True

    async def handle(self, event: Event, ctx: Context) -> None:
        """Call the handler. Raises whatever it raises."""
        if self.when(event):
            await self.handler(event, ctx)


@define
class Router:
    """Routes under one name. Routers are values: they merge with `include`."""

    name: str
    _routes: dict[str, Route] = field(init=False, factory=dict)

    def on(
        self, kind: type[E], *, when: Callable[[E], bool] = _always, mode: Mode = "ordered"
    ) -> Callable[[Handler[E]], Handler[E]]:
        """Register the decorated function for events of class `kind`; its name is `router.function`."""

        def register(handler: Handler[E]) -> Handler[E]:
            name = getattr(handler, "__name__", type(handler).__name__)
            if mode not in get_args(Mode):
                raise ConfigError([f"handlers: {self.name}.{name}: mode {mode!r} must be one of {get_args(Mode)}"])
            if not iscoroutinefunction(handler):
                raise ConfigError([f"handlers: {self.name}.{name} must be an async function: write `async def {name}`"])
            self._add(Route(f"{self.name}.{name}", kind, handler, when, mode))
            return handler

        return register

    def include(self, *others: Router) -> None:
        """Take over the routes of other routers. Two handlers of one name: ConfigError."""
        for other in others:
            for route in other:
                self._add(route)

    def match(self, event: Event) -> list[Route]:
        """The routes that want the event, in the order they were registered."""
        return [route for route in self if route.wants(event)]

    def find(self, name: str) -> Route | None:
        """The route of that name, `router.function`."""
        return self._routes.get(name)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def _add(self, route: Route) -> None:
        if route.name in self._routes:
            raise ConfigError([f"handlers: two handlers are named {route.name!r}; rename one of the functions"])
        self._routes[route.name] = route
