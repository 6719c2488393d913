"""Prometheus metrics, made from the same notes as the log."""

from __future__ import annotations

from aiohttp import web
from attrs import define, field
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from bridge.core.masking import Masked

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LABELS = ("handler", "kind", "state", "outcome", "destination", "source", "code")


@define
class Metrics:
    """Counts each action by the few fields that have few values, and times every field that ends in `_ms`."""

    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _actions: Counter = field(init=False)
    _seconds: Histogram = field(init=False)
    _tokens: Counter = field(init=False)
    _known: dict[tuple[object, ...], Counter] = field(init=False, factory=dict)
    _timers: dict[tuple[str, str], Histogram] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._actions = Counter("bridge_actions", "What happened.", ("action", *LABELS), registry=self.registry)
        self._seconds = Histogram(
            "bridge_seconds", "How long it took.", ("action", "what"), buckets=BUCKETS, registry=self.registry
        )
        self._tokens = Counter(
            "bridge_tokens", "Tokens, as they were counted.", ("kind", "model"), registry=self.registry
        )

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        """Implements `ports.Journal`."""
        self._counter(action, *map(fields.get, LABELS)).inc()
        for name, value in fields.items():
            if name.endswith("_ms") and isinstance(value, (int, float)):
                self._timer(action, name.removesuffix("_ms")).observe(value / 1000)
            elif name.endswith("_tokens") and isinstance(value, int):
                self._tokens.labels(name.removesuffix("_tokens"), str(fields.get("model") or "")).inc(value)

    def _counter(self, *of: object) -> Counter:
        """The counter with these labels; finding it in the library costs more than counting."""
        counter = self._known.get(of)
        if counter is None:
            counter = self._known[of] = self._actions.labels(*(str(label or "") for label in of))
        return counter

    def _timer(self, action: str, what: str) -> Histogram:
        timer = self._timers.get((action, what))
        if timer is None:
            timer = self._timers[action, what] = self._seconds.labels(action, what)
        return timer

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


def make_metrics(metrics: Metrics) -> list[web.AbstractRouteDef]:
    """GET /metrics."""

    async def read(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", read)]
