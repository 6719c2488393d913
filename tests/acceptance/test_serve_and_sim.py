"""`bridge serve` beside `bridge sim`, and `bridge demo --once`, as a newcomer starts them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts processes, and plays a call of three minutes at many times its pace

ROOT = Path(__file__).parents[2]
CALL = ROOT / "config" / "scenarios" / "bank_call.jsonl"
SECRET = "whsec_c2VjcmV0IG9mIHRoZSBzaW11bGF0b3Jz"


async def start(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", *arguments,
        cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def read_until(stream: asyncio.StreamReader | None, pattern: str) -> list[str]:
    """The lines up to the one that holds the pattern."""
    assert stream is not None
    lines: list[str] = []
    async with asyncio.timeout(40):
        while not (lines and re.search(pattern, lines[-1])):
            line = await stream.readline()
            assert line, f"it ended before it said {pattern}: {lines}"
            lines.append(line.decode())
    return lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(folder: Path, urls: list[str], port: int) -> AsyncIterator[dict[str, str]]:
    """A bridge that is told where the simulators are; its environment, to look things up with."""
    environ = {
        "BRIDGE_CONFIG": str(ROOT / "config" / "sim.toml"),
        "SIM_SECRET": SECRET,
        "SIM_CLIENT_SECRET": "sim-secret",
        "BRIDGE_HTTP_PORT": str(port),
        "BRIDGE_ENGINE_PATH": str(folder / "bridge.db"),
        "BRIDGE_GENESYS_API_URL": urls[0],
        "BRIDGE_GENESYS_LOGIN_URL": urls[0],
        "BRIDGE_GATEWAY_URL": urls[1],
        "BRIDGE_DESTINATIONS_CRM_URL": f"{urls[2]}/crm",
    }
    bridge = await start("serve", **environ)
    await read_until(bridge.stderr, '"serving"')
    try:
        yield environ
    finally:
        bridge.send_signal(signal.SIGTERM)
        assert bridge.stderr is not None
        async with asyncio.timeout(20):
            rest = (await bridge.communicate())[1].decode()
        assert bridge.returncode == 0
        assert SECRET not in rest
        assert "/channels/" not in rest


async def lookup(environ: dict[str, str], *arguments: str) -> list[dict[str, object]]:
    asked = await start(*arguments, **environ)
    out, err = await asked.communicate()
    assert (asked.returncode, err) == (0, b"")
    return [json.loads(line) for line in out.splitlines()]


async def settled_callbacks(environ: dict[str, str]) -> list[dict[str, object]]:
    """The callbacks once nothing waits any more. Each look is a process of its own, so this is no busy loop."""
    async with asyncio.timeout(30):
        while True:
            working = await lookup(environ, "deliveries", "list", "--state", "waiting", "--json")
            callbacks = await lookup(environ, "callbacks", "list", "--limit", "1000", "--json")
            if not working and callbacks and "waiting" not in {one["state"] for one in callbacks}:
                return callbacks


async def test_one_call_through_the_socket_and_through_webhooks_at_once_is_stored_once(tmp_path: Path) -> None:
    port = free_port()
    sim = await start(
        "sim", "--ports", "0", "0", "0", "--play", str(CALL), "--speed", "20",
        "--webhooks", f"http://127.0.0.1:{port}/webhooks/sim", SIM_SECRET=SECRET,
    )  # fmt: skip
    said = await read_until(sim.stdout, "waiting for a bridge")
    urls = [line.split(": ")[1].strip() for line in said[:3]]
    async with serving(tmp_path, urls, port) as environ:
        posted = (await read_until(sim.stdout, "posted"))[-1]
        counted = re.search(r"posted (\d+) webhooks: (\d+) were stored already, 0 refused", posted)
        events = await lookup(environ, "events", "list", "--limit", "1000", "--json")
        callbacks = await settled_callbacks(environ)
    sim.send_signal(signal.SIGTERM)
    told = (await sim.communicate())[0].decode()
    kinds = Counter(one["kind"] for one in events)
    assert counted is not None
    assert int(counted[1]) == 62
    assert int(counted[2]) > 0, "nothing came through the socket"
    assert int(counted[2]) > 0, "nothing came through the socket"
    assert (kinds["Utterance"], kinds["ConversationEnded"]) == (56, 1)
    assert len({one["id"] for one in events}) == len(events)
    assert Counter(one["name"] for one in callbacks)["conversation.summarized"] == 1
    assert ", 0 of them twice, and refused 0" in told


async def test_the_demo_plays_prints_its_figures_without_anything_personal_and_ends() -> None:
    demo = await start("demo", "--once")
    async with asyncio.timeout(60):
        out, err = await demo.communicate()
    text = re.sub(r"\s+", " ", out.decode()).lower()
    assert (demo.returncode, err) == (0, b"")
    assert re.search(r"http://127.0.0.1:\d+/panel/[0-9a-f-]{36}", text)
    for figure in ("lost", "deliveries dead", "callbacks dead", "order broken", "callbacks twice at the crm"):
        assert re.search(rf"{figure}\D+0\b", text), figure
    for personal in ("four one one one", "one one one one", "example dot com", "555-0142", "555 0142"):
        assert personal not in text, personal
    for plain in ("$1,250.00", "88213", "third of march"):
        assert plain in text, plain
