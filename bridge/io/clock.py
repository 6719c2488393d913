"""The machine's clock."""

from __future__ import annotations

import asyncio
import time

from attrs import frozen


@frozen
class MachineClock:
    """Implements `ports.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; nothing or less than nothing lets others run once."""
        await asyncio.sleep(max(seconds, 0.0))
