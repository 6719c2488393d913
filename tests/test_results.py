"""What a replay came to, from an engine whose content is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from bridge_parts import PARTITIONS, Stand, open_stand, said

from bridge.core.partition import partition_of
from bridge.ports import Callback, Delivery, Record
from bridge.results import BATCH, FAULTS, Results, figures, order_broken, read_results, result_lines, shown_in_time

WANTED = (("assist.suggest", "latest"), ("notes.keep", "ordered"))


async def settle(stand: Stand, event: str, handler: str, state: str, *effects: Any) -> None:
    delivery = await stand.delivery(event, handler)
    epoch = (await stand.engine.acquire([delivery.partition]))[delivery.partition]
    if state == "dead":
        assert await stand.engine.dead(delivery, epoch, "broken", effects)
    else:
        assert await stand.engine.finish(delivery, epoch, effects, state=state)  # type: ignore[arg-type]


def card(event: str, state: str, **fields: Any) -> Record:
    return Record(f"{event}:card1", "card", "talk", "assist.suggest", event, state, fields)


def call(event: str, first_token_ms: float | None) -> Record:
    fields = {"prompt_tokens": 10, "completion_tokens": 3, "first_token_ms": first_token_ms}
    return Record(f"{event}:1", "inference", "talk", "assist.suggest", event, "complete", fields)


def callback(event: str) -> Callback:
    return Callback(f"{event}:k:1", "talk", "notes.keep", event, "crm", "noted", b"{}")


def shown(
    first_shown_ms: int | None, said_ms: int = 2_000, told_ms: int = 2_100, received_ms: int = 50_000
) -> dict[str, Any]:
    return {"first_shown_ms": first_shown_ms, "said_ms": said_ms, "told_ms": told_ms, "received_ms": received_ms}


async def test_the_figures_are_those_of_the_engine(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.tell(said("u1"), said("u2"), said("u3"), said("o", conversation="other"), wanted=WANTED)
        await settle(stand, "u1", "assist.suggest", "superseded", card("u1", "superseded"), call("u1", None))
        await settle(stand, "u2", "assist.suggest", "superseded")
        await settle(stand, "u3", "assist.suggest", "finished", card("u3", "ready", **shown(51_000)), call("u3", 20.0))
        await settle(stand, "u1", "notes.keep", "finished", callback("u1"), callback("u2"))
        await settle(stand, "u2", "notes.keep", "dead")
        await settle(stand, "o", "assist.suggest", "finished", card("o", "expired"), call("o", 40.0))
        part = partition_of("talk", PARTITIONS)
        epoch = (await stand.engine.acquire([part]))[part]
        assert await stand.engine.outbox_done(
            evolve(callback("u1"), partition=part), epoch, state="delivered", answer="200"
        )
        results = await read_results(stand.engine)
        assert figures(results, {"u1", "u2", "gone"}, timed=True) == {
            "events": 4,
            "conversations": 2,
            "deliveries finished": 3,
            "deliveries dead": 1,
            "suggestions shown": 1,
            "suggestions superseded": 2,
            "suggestions expired": 1,
            "suggestions withheld or failed": 0,
            "shown before the agent's next words": 1,
            "prompt tokens": 30,
            "completion tokens": 9,
            "first token p50, ms": 30.0,
            "first token p95, ms": 39.0,
            "callbacks delivered": 1,
            "callbacks dead": 0,
            "callbacks waiting": 1,
            "deliveries waiting": 2,
            "lost": 1,
            "order broken": 0,
        }
        lines = list(result_lines(results))
        assert [line["kind"] for line in lines] == ["event"] * 4 + ["card", "inference"] * 3 + ["callback"] * 2
        assert {"kind", "conversation", "handler", "event", "key", "state"} <= set.intersection(*map(set, lines))
        assert [(line["state"], line["attempts"]) for line in lines[-2:]] == [("delivered", 0), ("waiting", 0)]
        assert lines[0]["deliveries"] == [
            {"handler": "assist.suggest", "state": "superseded", "attempts": 0, "settled_as": 1},
            {"handler": "notes.keep", "state": "finished", "attempts": 0, "settled_as": 4},
        ]


async def test_more_than_a_page_of_everything_is_read_once(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        many = BATCH + 7
        await stand.tell(*(said(f"u{n}") for n in range(many)), wanted=WANTED)
        await settle(
            stand, "u0", "notes.keep", "finished",
            *(evolve(callback(f"u{n}"), key=f"k{n}") for n in range(many)),
            *(card(f"u{n}", "ready", **shown(None)) for n in range(many)),
        )  # fmt: skip
        results = await read_results(stand.engine)
        assert [one.id for one in results.events] == [f"u{n}" for n in range(many)]
        assert [[one.handler for one in several] for several in results.deliveries.values()] == [
            ["assist.suggest", "notes.keep"]
        ] * many
        assert [one.key for one in results.callbacks] == [f"k{n}" for n in range(many)]
        assert len(results.records) == len({one.key for one in results.records}) == many


async def test_an_empty_engine_has_an_empty_table(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        rows = figures(await read_results(stand.engine), set(), timed=True)
        assert set(rows.values()) == {0}
        assert rows.keys() >= set(FAULTS)


async def test_a_broken_order_is_seen_within_a_lane_and_only_there(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.tell(said("u1"), said("u2"), said("u3"), said("o", conversation="other"), wanted=WANTED)
        for event in ("o", "u1", "u2", "u3"):
            await settle(stand, event, "notes.keep", "finished")
        await settle(stand, "u3", "assist.suggest", "finished")
        results = await read_results(stand.engine)
        assert order_broken(results) == 0
        _swap(results, "u1", "u2")
        assert order_broken(results) == 1


def _swap(results: Results, one: str, other: str) -> None:
    """Plant an inversion, as a lane that ran beside itself would leave it."""

    def kept(event: str) -> Delivery:
        return next(delivery for delivery in results.deliveries[event] if delivery.handler == "notes.keep")

    first, second = kept(one), kept(other)
    results.deliveries[one] = [evolve(first, settled_as=second.settled_as)]
    results.deliveries[other] = [evolve(second, settled_as=first.settled_as)]


async def test_shown_in_time_is_before_the_agent_speaks_next_in_the_conversations_own_time(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        await stand.tell(
            said("a1", speaker="agent", start_ms=500),
            said("u1"),
            said("a2", speaker="agent", start_ms=4_000),
            wanted=WANTED,
        )
        results = await read_results(stand.engine)
        for first_shown_ms, in_time in ((51_899, 1), (51_900, 0), (None, 0)):
            results.records = [card("u1", "ready", **shown(first_shown_ms))]
            assert shown_in_time(results) == in_time
        results.records = [card("u1", "ready", **shown(10_000_000, said_ms=4_001))]
        assert shown_in_time(results) == 1
        results.records = [card("u1", "superseded", **shown(51_000))]
        assert shown_in_time(results) == 0
