"""A circuit breaker. Pure: the present is an argument, in seconds of a clock that never goes back.

closed --`limit` failures in a row--> open --`pause` seconds--> one trial --succeeded--> closed
                                        ^-------- failed, or never heard of again -----'
"""

from __future__ import annotations

import math

from attrs import define


@define
class Breaker:
    """Of one model or destination. A trial that never reports back blocks nothing: after `pause` there is another."""

    limit: int = 5
    pause: float = 10.0
    _failures: int = 0
    _opens_at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a call may be made; 0 when it may be made now."""
        return max(0.0, self._opens_at - now) if self._failures >= self.limit else 0.0

    def admit(self, now: float) -> bool:
        """Whether a call may be made now. While the breaker is open, the one who hears True is the trial."""
        if self.wait(now):
            return False
        if self._failures >= self.limit:
            self._opens_at = now + self.pause
        return True

    def succeeded(self) -> None:
        """The other side works."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """The other side did not answer, or answered that it is broken."""
        self._failures += 1
        if self._failures >= self.limit:
            self._opens_at = now + self.pause
