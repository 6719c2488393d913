"""Looking things up, sending them again and dropping them, as an operator types it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.app import open_engine
from bridge.cli import bridge
from bridge.loading import load
from bridge.ports import Arrival, Mode

HANDLERS = tuple(f"h{number}" for number in range(3))


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def ask(*words: str) -> Result:
    return CliRunner().invoke(bridge, words)


def rows(*words: str) -> list[dict[str, object]]:
    answered = ask(*words, "--json")
    assert answered.exit_code == 0
    return [json.loads(line) for line in answered.stdout.splitlines()]


async def _bury(events: int) -> None:
    """An engine with that many events of one conversation, each dead with all three handlers."""
    settings = load({}, "", "", str)
    wanted: tuple[tuple[str, Mode], ...] = tuple((name, "ordered") for name in HANDLERS)
    async with open_engine(settings) as engine:
        await engine.append(
            [Arrival(f"c:{n}", "c", "Utterance", b'{"text":"call 555-0142"}', 1000 + n, wanted) for n in range(events)]
        )
        (partition,) = {d.partition for d in await engine.deliveries()}
        epochs = await engine.acquire([partition])
        left = events * len(HANDLERS)
        async for delivery in engine.tail(partition, epochs[partition]):
            await engine.dead(delivery, epochs[partition], "ValueError: no such customer")
            left -= 1
            if not left:
                break
        await engine.release(epochs)


@pytest.fixture
def buried() -> None:
    asyncio.run(_bury(1))


def test_looking_into_an_engine_that_is_not_there_is_a_mistake_and_makes_none(tmp_path: Path) -> None:
    answered = ask("dead", "list")
    assert answered.exit_code == 2
    assert f"engine.path: there is no {tmp_path}/var/bridge.db" in answered.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.usefixtures("buried")
def test_dead_deliveries_are_listed_with_their_error_and_sent_again_by_their_key() -> None:
    keys = [str(row["key"]) for row in rows("dead", "list")]
    assert keys == [f"c:0:{name}" for name in HANDLERS]
    assert {row["error"] for row in rows("dead", "list")} == {"ValueError: no such customer"}
    answered = ask("dead", "retry", keys[0])
    assert (answered.exit_code, answered.stdout) == (0, "c:0:h0: sent again\n")
    assert [row["key"] for row in rows("deliveries", "list", "--state", "waiting")] == [keys[0]]


@pytest.mark.usefixtures("buried")
def test_a_key_that_is_not_dead_is_told_on_stderr_and_the_others_are_done() -> None:
    answered = ask("dead", "drop", "nobody", "c:0:h1")
    assert (answered.exit_code, answered.stdout) == (1, "c:0:h1: dropped\n")
    assert answered.stderr == "nobody: is no dead delivery\n"
    assert len(rows("dead", "list")) == 2


@pytest.mark.parametrize("word", ["retry", "drop"])
def test_neither_keys_nor_all_or_both_is_a_mistake_in_the_call(word: str) -> None:
    assert ask("dead", word).exit_code == 2
    assert ask("dead", word, "--all", "key").exit_code == 2


def test_all_means_those_too_that_a_page_cuts_off_in_the_middle_of_an_event() -> None:
    asyncio.run(_bury(70))
    answered = ask("dead", "drop", "--all")
    assert answered.exit_code == 0
    assert len(answered.stdout.splitlines()) == 70 * len(HANDLERS)
    assert rows("dead", "list") == []


@pytest.mark.usefixtures("buried")
def test_an_event_is_shown_masked_and_one_that_is_not_there_is_named() -> None:
    shown = ask("events", "show", "c:0")
    assert shown.exit_code == 0
    assert "555-0142" not in shown.stdout
    missing = ask("events", "show", "nobody")
    assert missing.exit_code == 1
    assert "there is no event nobody" in missing.stderr


def test_a_limit_below_one_is_a_mistake_in_the_call() -> None:
    assert ask("events", "list", "--limit", "0").exit_code == 2
