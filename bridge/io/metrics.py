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
    _children: dict[tuple[str, tuple[str, ...]], Counter] = field(init=False, factory=dict)

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
        self._counter(action, tuple([str(fields.get(name) or "") for name in LABELS])).inc()
        for name, value in fields.items():
            if isinstance(value, (int, float)) and name.endswith("_ms"):
                self._seconds.labels(action, name.removesuffix("_ms")).observe(value / 1000)
            elif isinstance(value, int) and name.endswith("_tokens"):
                self._tokens.labels(name.removesuffix("_tokens"), str(fields.get("model") or "")).inc(value)

    def _counter(self, action: str, labels: tuple[str, ...]) -> Counter:
        """A labelled child; finding it in the library costs more than counting."""
        counter = self._children.get((action, labels))
        if counter is None:
            counter = self._children[action, labels] = self._actions.labels(action, *labels)
        return counter

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


def make_metrics(metrics: Metrics) -> list[web.AbstractRouteDef]:
    """GET /metrics."""

    async def read(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", read)]
