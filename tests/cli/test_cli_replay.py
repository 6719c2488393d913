"""`bridge replay`: what cannot be read is named and the rest is played; what failed is kept apart and looked into."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge
from bridge.cli.replay import _forget, _keep
from bridge.replay import read_recording

CALL = Path(__file__).parents[2] / "config" / "scenarios" / "bank_call.jsonl"
RAISING = """
from bridge import ConversationEnded, Router
router = Router("mine")
@router.on(ConversationEnded)
async def end(ended, ctx):
    raise ValueError("not today")
"""


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def replay(*words: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(bridge, ["replay", *map(str, words)], env=environ)


def test_a_gz_that_is_cut_off_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    whole = gzip.compress(CALL.read_bytes())
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    refused: list[str] = []
    lines = list(read_recording(cut, refused))
    assert 10 < len(lines) < 62
    assert refused == [f"{cut}:{len(lines) + 1}: no whole gzip file: {refused[0].split('file: ')[1]}"]


@pytest.mark.parametrize(
    "content", [b'{"topicName": 1}\n', b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff"]
)
def test_what_is_no_gz_at_all_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.gz"
    file.write_bytes(content)
    refused: list[str] = []
    assert list(read_recording(file, refused)) == []
    assert [problem.split(": ")[:2] for problem in refused] == [[f"{file}:1", "no whole gzip file"]]


def test_an_empty_file_is_a_recording_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    answered = replay("empty.jsonl")
    assert answered.exit_code == 0
    assert "events: 0" in answered.stdout
    assert list((tmp_path / "state/bridge/replay").iterdir()) == []


def test_refused_lines_are_told_on_stderr_each_on_one_line_and_not_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("no JSON, and a long line of it that a terminal would wrap\n" * 25)
    answered = replay("bad.jsonl")
    told = answered.stderr.splitlines()
    assert answered.exit_code == 1
    assert [line.split(": ")[1] for line in told[:20]] == [f"bad.jsonl:{number}" for number in range(1, 21)]
    assert told[20] == "refused: 5 more"
    assert "lines refused: 25" in answered.stdout.splitlines()


def test_forgetting_a_state_leaves_its_neighbours(tmp_path: Path) -> None:
    gone = ("run", "run-wal", "run-shm", "run.lock", f"run.{'0' * 32}.lock")
    stay = ("run.jsonl", "run2", "running.db", "run.failed")
    for name in (*gone, *stay):
        (tmp_path / name).touch()
    (tmp_path / "run.bus").mkdir()
    _forget(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == set(stay)


def test_what_still_waits_stays_where_the_same_command_finds_it(tmp_path: Path) -> None:
    (tmp_path / "run.db").touch()
    _keep(tmp_path / "run.db", {"deliveries waiting": 1, "callbacks waiting": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["run.db"]


@pytest.mark.slow  # a whole call, twice
def test_what_failed_can_be_looked_into_and_the_same_command_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    environ = {"BRIDGE_HANDLERS_ENABLED": '["raising:router"]', "BRIDGE_HANDLERS_TRIES": "1"}
    answered = replay(CALL, **environ)
    hint = answered.stderr.splitlines()[-1]
    assert answered.exit_code == 1
    assert "deliveries dead: 1" in answered.stdout
    assert hint.startswith("to look into it: BRIDGE_ENGINE_PATH=")
    kept = hint.split("=")[1].split(" ")[0]
    listed = CliRunner().invoke(bridge, ["dead", "list"], env={"BRIDGE_ENGINE_PATH": kept})
    assert "ValueError" in listed.stdout
    mended = replay(CALL)
    assert mended.exit_code == 0
    assert "callbacks verified by the CRM: 25" in mended.stdout
