"""How the benchmarks print, and where they write."""

from __future__ import annotations

import sys
from pathlib import Path


def say(text: str) -> None:
    """A line of the result, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def disk() -> Path:
    """A folder on the disk of the checkout, and not in memory as /tmp may be; git does not look at it."""
    folder = Path("var")
    folder.mkdir(exist_ok=True)
    return folder
