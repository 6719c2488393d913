"""How long things are kept. Times in milliseconds."""

from __future__ import annotations

_A_DAY_AND_MORE = 2 * 86_400_000


def events_before(now_ms: int, keep_ms: int) -> int:
    """Events stored, and settled, before this time may be forgotten."""
    return now_ms - keep_ms


def ledgers_before(now_ms: int, keep_ms: int) -> int:
    """Ledgers untouched since then may be forgotten. A day's ledger outlives its day, however short events are kept."""
    return now_ms - max(keep_ms, _A_DAY_AND_MORE)
