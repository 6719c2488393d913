"""What is simulated reaches a bridge that is set up as the shipped settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp.web import WebSocketResponse
from click.testing import CliRunner

from bridge.cli.sim import queues, sim, somebody_listens
from bridge.core.recording import read_line
from bridge.io.clock import MachineClock
from bridge.loading import load
from bridge.sim.genesys import ORG, SimGenesys, make_genesys

CONFIG = Path(__file__).parents[2] / "config"
KEY = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


def envelopes(recording: Path) -> list[Mapping[str, Any]]:
    return [line.envelope for line in map(read_line, recording.read_bytes().splitlines()) if line]


def test_the_settings_for_the_simulators_follow_the_queue_of_every_scenario() -> None:
    environ = {"SIM_SECRET": KEY, "SIM_CLIENT_SECRET": "sim-secret"}
    follow = load(environ, (CONFIG / "sim.toml").read_text(), "sim.toml", str).genesys.follow
    scenarios = list((CONFIG / "scenarios").glob("*.jsonl"))
    assert scenarios
    for scenario in scenarios:
        found = queues(envelopes(scenario))
        assert found
        assert {f"queue:{queue}" for queue in found} <= set(follow)
    assert f"queue:{SimGenesys().queue}" in follow


async def test_nothing_is_played_to_a_channel_that_has_no_topics_or_no_socket_yet() -> None:
    org = make_genesys(SimGenesys(), clock=MachineClock())[ORG]
    waiting = asyncio.ensure_future(somebody_listens(org))
    channel = org.make_channel(org.make_token())
    await asyncio.sleep(0)
    org.subscribe(channel, [f"v2.routing.queues.{org.settings.queue}.conversations"])
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    channel.socket = WebSocketResponse()
    org.touch()
    await waiting


def test_without_its_secret_the_simulator_says_what_to_set() -> None:
    answered = CliRunner().invoke(sim, env={"SIM_SECRET": ""})
    assert answered.exit_code == 2
    assert "set SIM_SECRET to whsec_" in answered.stderr
