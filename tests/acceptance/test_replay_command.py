"""`bridge replay` as a user runs it: what comes out, and that a kill in the middle changes nothing of it."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.serving import open_app

pytestmark = pytest.mark.slow  # each starts a process or two, and lets it work

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "recordings" / "primock57"
make_recording = runpy.run_path(str(ROOT / "tools" / "make_scenario.py"))["make_recording"]

OF_THE_MOMENT = {"seq", "settled_as", "attempts", "model"}
"""Fields that tell how a run went, and not what came of it; beside everything that ends in _ms."""


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Six calls of one script, each a conversation of its own."""
    script = (ROOT / "config" / "scenarios" / "bank_call.txt").read_text()
    paths = [tmp_path / f"call{n}.jsonl" for n in range(6)]
    for path in paths:
        path.write_text(make_recording(script, path.stem))
    return paths


async def start(folder: Path, *arguments: str | Path) -> asyncio.subprocess.Process:
    environ = {"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(folder / "state")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "replay", *map(str, arguments),
        cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def end(running: asyncio.subprocess.Process) -> tuple[int | None, dict[str, str], str]:
    """Exit code, the table's rows, and what stood on stderr."""
    async with asyncio.timeout(60):
        out, err = await running.communicate()
    rows = dict(line.rsplit(": ", 1) for line in out.decode().splitlines() if ": " in line)
    return running.returncode, rows, err.decode()


def facts(out: Path) -> list[dict[str, Any]]:
    """The result lines without what only tells of the run, in an order of their own."""
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return sorted((_lasting(line) for line in lines), key=lambda line: (line["kind"], line["key"]))


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if name not in OF_THE_MOMENT and not name.endswith("_ms")}
        return {name: _lasting(inner) for name, inner in kept.items()}
    return sorted(map(_lasting, value), key=json.dumps) if isinstance(value, list) else value


async def test_every_event_once_every_call_summarized_once_every_callback_delivered_once(
    tmp_path: Path, recordings: list[Path]
) -> None:
    out = tmp_path / "out.jsonl"
    code, rows, err = await end(await start(tmp_path, *recordings, "--out", out))
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    kinds = Counter((line["kind"], line["state"]) for line in lines)
    events = [line for line in lines if line["kind"] == "event"]
    summaries = Counter(line["conversation"] for line in lines if line.get("name") == "conversation.summarized")
    assert len({line["key"] for line in events}) == len(events) == 6 * 63
    assert list(summaries.values()) == [1] * 6
    assert kinds["callback", "delivered"] == int(rows["callbacks verified by the CRM"])
    assert {kind: states for (kind, states) in kinds if kind == "callback"} == {"callback": "delivered"}
    assert (rows["lost"], rows["order broken"], rows["callbacks the CRM got twice"]) == ("0", "0", "0")


async def test_a_replay_that_is_killed_in_the_middle_ends_like_one_that_is_not(
    tmp_path: Path, recordings: list[Path]
) -> None:
    whole, resumed, state = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl", tmp_path / "resumed.db"
    async with open_app(make_gateway(SimGateway(first_token=0.01))) as gateway:
        given: tuple[str | Path, ...] = (*recordings, "--gateway", gateway)
        assert (await end(await start(tmp_path, *given, "--out", whole)))[0] == 0
        for settled in (1, 40, 90):
            await _kill_after(await start(tmp_path, *given, "--out", resumed, "--state", state), state, settled)
        code, rows, err = await end(await start(tmp_path, *given, "--out", resumed, "--state", state))
    assert (code, err, rows["lost"], rows["order broken"]) == (0, "", "0", "0"), rows
    assert facts(resumed) == facts(whole)


async def _kill_after(running: asyncio.subprocess.Process, state: Path, settled: int) -> None:
    """SIGKILL once that many deliveries are settled."""
    async with asyncio.timeout(30):
        while _settled(state) < settled:
            assert running.returncode is None, "the replay was over before it could be killed"
            await asyncio.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert await running.wait() == -signal.SIGKILL


def _settled(state: Path) -> int:
    if not state.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as file:
            found = file.execute("SELECT coalesce(max(settled_as), 0) FROM delivery").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(found[0])


HASTY = """
customer    0.5   1.0   my parcel is late and I would like to know why
customer    1.6   0.2   and also where is it now please
agent      15.0   1.0   let me have a look
customer   17.0   1.0   thank you that is very kind of you
agent      18.1   0.5   not at all
"""


async def test_at_speed_10_a_newer_utterance_supersedes_and_the_table_says_what_came_in_time(tmp_path: Path) -> None:
    recording, out = tmp_path / "hasty.jsonl", tmp_path / "out.jsonl"
    recording.write_text(make_recording(HASTY, "hasty"))
    code, rows, err = await end(await start(tmp_path, recording, "--speed", "10", "--out", out))
    assert (code, err) == (0, "")
    assert (rows["suggestions superseded"], rows["suggestions shown"]) == ("1", "2")
    # The agent leaves much time for the first one, and none for the second.
    assert rows["shown before the agent's next words"] == "1"
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    shown = [line["event"] for line in lines if line["kind"] == "card" and line["state"] == "ready"]
    assert shown == [line["event"] for line in lines if line.get("name") == "suggestion.shown"]


async def test_a_line_that_is_no_event_is_named_and_the_rest_is_played(tmp_path: Path, recordings: list[Path]) -> None:
    recordings[0].write_text(recordings[0].read_text() + "this is no JSON\n")
    code, rows, _ = await end(await start(tmp_path, recordings[0]))
    assert (code, rows["lines refused"], rows["events"]) == (1, "1", "63")


async def test_a_gateway_that_is_down_makes_events_wait_and_says_so(tmp_path: Path, recordings: list[Path]) -> None:
    given = (recordings[0], "--gateway", "http://127.0.0.1:9", "--patience", "0.5")
    code, rows, _ = await end(await start(tmp_path, *given))
    assert code == 1
    assert (rows["deliveries dead"], rows["lost"]) == ("0", "0")
    assert int(rows["deliveries waiting"]) > 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real recordings are not beside this checkout")
async def test_all_real_recordings_at_full_speed(tmp_path: Path) -> None:
    out, files = tmp_path / "out.jsonl", sorted(SHARED.glob("*.jsonl.gz"))
    code, rows, err = await end(await start(tmp_path, *files, "--speed", "max", "--out", out))
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    summaries = Counter(line["conversation"] for line in lines if line.get("name") == "conversation.summarized")
    assert (rows["conversations"], rows["lost"], rows["order broken"]) == ("45", "0", "0")
    assert sorted(summaries.values()) == [1] * 45
    assert {line["state"] for line in lines if line["kind"] == "callback"} == {"delivered"}
