from __future__ import annotations

from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from bridge.io.metrics import Metrics, make_metrics
from bridge.sim.serving import open_app


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and the labels that say something -> value."""
    return {
        (sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if value))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_each_action_is_counted_by_the_fields_of_few_values_only() -> None:
    metrics = Metrics()
    for event in ("u1", "u2"):
        metrics.note("finished", event=event, handler="assist.suggest", conversation=event, attempts=0)
    metrics.note("dead", handler="assist.suggest", level="error")
    found = samples(metrics.page())
    assert found["bridge_actions_total", (("action", "finished"), ("handler", "assist.suggest"))] == 2
    assert found["bridge_actions_total", (("action", "dead"), ("handler", "assist.suggest"))] == 1
    assert b"u1" not in metrics.page()


def test_times_are_seconds_and_tokens_are_counted_by_model() -> None:
    metrics = Metrics()
    metrics.note(
        "answered", first_token_ms=20.0, total_ms=400, prompt_tokens=10, completion_tokens=3, model="gpt-4o-mini"
    )
    metrics.note("answered", first_token_ms=None, prompt_tokens=5, model="gpt-4o-mini")
    found = samples(metrics.page())
    assert found["bridge_seconds_sum", (("action", "answered"), ("what", "total"))] == 0.4
    assert found["bridge_seconds_count", (("action", "answered"), ("what", "first_token"))] == 1
    assert found["bridge_seconds_bucket", (("action", "answered"), ("le", "0.025"), ("what", "first_token"))] == 1
    assert found["bridge_tokens_total", (("kind", "prompt"), ("model", "gpt-4o-mini"))] == 15


def test_any_label_is_written_so_that_it_can_be_read() -> None:
    metrics = Metrics()
    metrics.note("callback_dead", destination='a "quoted"\nname\\', status=404)
    assert ("bridge_actions_total", (("action", "callback_dead"), ("destination", 'a "quoted"\nname\\'))) in samples(
        metrics.page()
    )


async def test_the_page_is_served() -> None:
    metrics, app = Metrics(), web.Application()
    metrics.note("stored")
    app.add_routes(make_metrics(metrics))
    async with open_app(app) as url, ClientSession() as session, session.get(f"{url}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert ("bridge_actions_total", (("action", "stored"),)) in samples(await response.read())
