"""How the benchmarks print."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line of the result, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
