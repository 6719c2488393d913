"""`bridge ask` on a terminal that would obey what a model writes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.serving import open_app

pytestmark = pytest.mark.slow  # it starts a process with a terminal of its own

ANSWER = "Fine\x1b]0;owned\x07 \x1b[2Jthanks\u202e\nBye"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
async def test_a_terminal_gets_no_escapes_of_a_model() -> None:
    ours, theirs = os.openpty()
    try:
        async with open_app(make_gateway(SimGateway(text=ANSWER))) as url:
            asked = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge", "ask", cwd=Path(__file__).parents[2],
                env={"PATH": os.environ["PATH"], "BRIDGE_GATEWAY_URL": url},
                stdin=asyncio.subprocess.PIPE, stdout=theirs, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(20):
                _, problems = await asked.communicate(b"How are you?")
        shown = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (asked.returncode, problems) == (0, b"")
    assert shown == "Fine\ufffd]0;owned\ufffd \ufffd[2Jthanks\ufffd\r\nBye\r\n"
