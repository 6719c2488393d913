"""The type checker refuses what would go wrong at run time."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # mypy reads the whole package
def test_every_wrong_pair_is_refused_and_every_right_one_taken(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "tests/typing/wrong_pairs.py"]
    checked = run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
