from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.cli.ask import ask
from bridge.sim.gateway import Faults, SimGateway, make_gateway
from bridge.sim.serving import open_app


@pytest.fixture
def sim() -> SimGateway:
    return SimGateway(text="A token is a piece of a word.")


@pytest.fixture
def url(sim: SimGateway) -> Iterator[str]:
    """The simulator on a loop of its own: the command runs one, too."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        opening = stack.enter_async_context(open_app(make_gateway(sim)))
        yield asyncio.run_coroutine_threadsafe(opening, loop).result(5)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def _settings(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but [gateway] url, from the environment."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_GATEWAY_URL", url)


def run(*arguments: str, stdin: str | bytes = "What is a token?") -> Result:
    return CliRunner().invoke(ask, arguments, input=stdin, catch_exceptions=False)


def last_line(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return told


def test_the_answer_goes_to_stdout() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (0, "A token is a piece of a word.\n")


def test_json_adds_a_last_line_with_how_it_ended() -> None:
    result = run("--json", "--model", "gpt-4o")
    told = last_line(result)
    assert result.stdout.startswith("A token is a piece of a word.\n{")
    assert told.pop("total_ms") >= told.pop("first_token_ms") >= 0
    assert told.pop("usage").keys() == {"prompt_tokens", "completion_tokens"}
    assert told == {
        "text": "A token is a piece of a word.",
        "outcome": "complete",
        "counted_by": "gateway",
        "model": "gpt-4o",
        "error": "",
    }


def test_a_cut_answer_is_a_success() -> None:
    result = run("--json", "--max-tokens", "3")
    assert result.exit_code == 0
    assert (last_line(result)["text"], last_line(result)["outcome"]) == ("A token is", "cut")


def test_a_broken_answer_is_none(sim: SimGateway) -> None:
    sim.faults = Faults(break_after=2)
    result = run("--json")
    assert result.exit_code == 1
    assert (last_line(result)["text"], last_line(result)["outcome"]) == ("A token", "incomplete")
    assert "the connection broke" in last_line(result)["error"]
    assert "incomplete: " in result.stderr


def test_no_answer_is_failed_and_says_why(sim: SimGateway) -> None:
    sim.faults = Faults(refuse=9, status=400)
    result = run("--json")
    told = last_line(result)
    assert result.exit_code == 1
    assert (told["text"], told["outcome"], told["first_token_ms"]) == ("", "failed", None)
    assert "answers 400" in told["error"]
    assert len(result.stdout.splitlines()) == 1


def test_what_was_typed_leaves_masked_and_comes_back_plain(sim: SimGateway) -> None:
    sim.text = ""
    result = run("--system", "You know bob@example.com.", stdin="Write to jane@example.com today.")
    assert result.stdout == "Write to jane@example.com today.\n"
    sent = b"".join(sim._bodies.values()).decode()
    assert re.findall(r"\[EMAIL_\d\]", sent) == ["[EMAIL_1]", "[EMAIL_2]"]
    assert "example.com" not in sent


@pytest.mark.parametrize(("stdin", "why"), [("", "stdin is empty"), (" \n", "stdin is empty"), (b"\xff", "not UTF-8")])
def test_no_question_is_a_mistake_in_the_call(stdin: str | bytes, why: str) -> None:
    result = run(stdin=stdin)
    assert result.exit_code == 2
    assert why in result.stderr


@pytest.mark.parametrize("arguments", [["--max-tokens", "0"], ["--max-tokens", "many"], ["--colour"]])
def test_wrong_options_are_a_mistake_in_the_call(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_wrong_settings_are_told_with_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_GATEWAY_URL", "no address")
    result = run()
    assert result.exit_code == 2
    assert "gateway.url" in result.stderr


@pytest.mark.slow  # starts a Python process
def test_ctrl_c_ends_it_without_a_traceback(sim: SimGateway) -> None:
    sim.faults = Faults(stall_after=2)
    call = [sys.executable, "-c", "from bridge.cli.ask import ask; ask()"]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"What is a token?")
        process.stdin.close()
        assert process.stdout.read(7) == b"A token"
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert process.stderr.read() == b""
