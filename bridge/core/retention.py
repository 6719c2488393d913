"""How long things are kept."""

from __future__ import annotations

from attrs import frozen

_LEDGERS_MS = 2 * 86_400_000


@frozen
class Rules:
    """`keep_ms`: how long a settled event stays."""

    keep_ms: int

    def events_before(self, now_ms: int) -> int:
        """What was stored and settled before this time may go."""
        return now_ms - self.keep_ms

    def ledgers_before(self, now_ms: int) -> int:
        """Ledgers untouched since then may go. A day's ledger must outlive its day, however short events are kept."""
        return now_ms - max(self.keep_ms, _LEDGERS_MS)
