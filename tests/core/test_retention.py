from __future__ import annotations

from bridge.core.retention import events_before, ledgers_before

DAY = 86_400_000


def test_events_are_kept_as_long_as_the_settings_say() -> None:
    assert events_before(10 * DAY, 7 * DAY) == 3 * DAY


def test_ledgers_are_kept_two_days_at_least() -> None:
    assert ledgers_before(10 * DAY, 7 * DAY) == 3 * DAY
    assert ledgers_before(10 * DAY, 60_000) == 8 * DAY
