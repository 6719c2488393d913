"""How commands end: told to, by a mistake, a port that is taken, a reader that goes away. Never with a traceback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bridge.cli import Commands, bridge
from bridge.cli.running import OutFile, ports_free, run
from bridge.errors import BridgeError, ConfigError

CALL = Path(__file__).parents[2] / "config" / "scenarios" / "bank_call.jsonl"


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(commands(bridge)), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    answered = CliRunner().invoke(bridge, [*words, "--help"])
    assert answered.exit_code == 0
    assert re.search(r"Usage: bridge.*\n\n  [A-Z]", answered.stdout)


def _raising(error: BaseException) -> Result:
    async def work() -> None:
        raise error

    @click.group(cls=Commands)
    def program() -> None: ...

    @program.command()
    def go() -> None:
        run(work())

    return CliRunner().invoke(program, ["go"])


def test_settings_that_are_wrong_end_with_two_and_a_line_each() -> None:
    answered = _raising(ConfigError(["a: is wrong", "b: is wrong"]))
    assert (answered.exit_code, answered.stderr) == (2, "a: is wrong\nb: is wrong\n")


@pytest.mark.parametrize("error", [BridgeError("no luck"), OSError("no luck")])
def test_what_fails_ends_with_one_and_a_line(error: Exception) -> None:
    for raised in (error, ExceptionGroup("several", [ExceptionGroup("in there", [error])])):
        answered = _raising(raised)
        assert (answered.exit_code, answered.stderr) == (1, "bridge: no luck\n")


def test_a_reader_that_has_gone_is_no_failure_to_tell_of() -> None:
    answered = _raising(BrokenPipeError(32, "Broken pipe"))
    assert "Broken pipe" not in answered.stderr


def test_ctrl_c_ends_a_command_that_only_reads_with_130() -> None:
    @click.group(cls=Commands)
    def program() -> None: ...

    @program.command()
    def go() -> None:
        raise KeyboardInterrupt

    assert CliRunner().invoke(program, ["go"]).exit_code == 130


def test_a_port_that_is_taken_names_the_setting(taken: int) -> None:
    with (
        pytest.raises(ConfigError, match=r"http\.port: .*; name another"),
        ports_free("http.port"),
        socket.socket() as one,
    ):
        one.bind(("127.0.0.1", taken))


def test_the_simulators_say_that_their_port_is_taken(taken: int) -> None:
    secret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    answered = CliRunner().invoke(bridge, ["sim", "--ports", str(taken), "0", "0"], env={"SIM_SECRET": secret})
    assert answered.exit_code == 2
    assert re.match(rf"--ports: .*{taken}.*in use; name another", answered.stderr)


def test_a_file_to_write_is_refused_before_the_work_when_its_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="is no folder"):
        OutFile().convert(str(tmp_path / "nowhere" / "out.jsonl"), None, None)
    with pytest.raises(click.BadParameter, match="is a directory"):
        OutFile().convert(str(tmp_path), None, None)
    assert OutFile().convert("out.jsonl", None, None) == Path("out.jsonl")


@pytest.mark.parametrize(
    "words", [("record", "--out", "nowhere/out.jsonl"), ("replay", str(CALL), "--out", "nowhere/o")]
)
def test_record_and_replay_refuse_a_missing_folder_at_once(words: tuple[str, ...]) -> None:
    answered = CliRunner().invoke(bridge, words)
    assert answered.exit_code == 2
    assert "nowhere is no folder" in answered.stderr


def test_record_without_an_org_says_what_to_set() -> None:
    answered = CliRunner().invoke(bridge, ["record", "--out", "out.jsonl"])
    assert answered.exit_code == 2
    assert "client_id and follow are needed" in answered.stderr
    assert not Path("out.jsonl").exists()


# A signal and a closed pipe need a process, and a process takes longer to start than a quick test may last.


@pytest.mark.slow
@pytest.mark.parametrize("words", [("mask",), ("tokens", "--total"), ("ask",)])
def test_ctrl_c_while_waiting_for_stdin_leaves_no_traceback(words: tuple[str, ...]) -> None:
    started = "import sys; from bridge.cli import main; print('up', flush=True); main()"
    with subprocess.Popen(
        [sys.executable, "-c", started, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        while not _waits(program.pid):
            pass
        program.send_signal(signal.SIGINT)
        _, told = program.communicate(timeout=20)
    assert program.returncode == 130
    assert b"Traceback" not in told


def _waits(pid: int) -> bool:
    """Whether the process sleeps, which it first does when it reads stdin."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"


@pytest.mark.slow
def test_a_reader_that_goes_away_in_the_middle_of_a_check_leaves_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        told = program.stderr.read()
    assert told == b""
