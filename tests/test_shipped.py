from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.shipped import load_prompts, shipped

GOOD = 'system = "Be brief."\nuser = "{{ question }}"\n'


def test_what_is_shipped_is_there_and_reads() -> None:
    assert {"suggest", "summary"} <= set(load_prompts())
    assert (shipped("scenarios") / "bank_call.jsonl").is_file()


def test_a_folders_prompts_are_added_and_win(tmp_path: Path) -> None:
    (tmp_path / "suggest.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    prompts = load_prompts(str(tmp_path))
    assert {"mine", "suggest", "summary"} <= set(prompts)
    assert prompts["suggest"].system == "Be brief."


def test_every_wrong_file_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("system = ", encoding="utf-8")
    (tmp_path / "b.toml").write_text('user = "x"', encoding="utf-8")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as raised:
        load_prompts(str(tmp_path))
    told = "\n".join(raised.value.problems)
    assert len(raised.value.problems) == 3
    for part in (
        f"{tmp_path / 'a.toml'}: cannot be read",
        f"{tmp_path / 'b.toml'}: system is missing",
        f"{tmp_path / 'c.toml'}",
    ):
        assert part in told


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompts\.path: .*nowhere is no folder"):
        load_prompts(str(tmp_path / "nowhere"))
