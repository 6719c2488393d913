from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.retry import (
    CALLBACK_WAITS,
    GATEWAY_WAITS,
    HANDLER_WAITS,
    LONGEST_WAIT,
    Policy,
    delay,
    doubling,
    parse_retry_after,
    verdict,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_waits_double_up_to_the_most_and_stay_there() -> None:
    assert doubling(1, 60) == (1, 2, 4, 8, 16, 32, 60)
    assert HANDLER_WAITS[-1] == 60
    assert GATEWAY_WAITS == (0.25, 0.5, 1, 2, 4, 8)


def test_callbacks_are_tried_ten_times_over_three_days_and_three_hours() -> None:
    policy = Policy(CALLBACK_WAITS, tries=10)
    waits = [delay(failures, policy, random=1.0) for failures in range(1, 11)]
    assert waits[:3] == [5, 300, 1800]
    assert waits[-1] is None
    assert sum(wait or 0 for wait in waits) == 75 * 3600 + 35 * 60 + 5


def test_the_last_wait_repeats() -> None:
    policy = Policy((1.0, 2.0), tries=100)
    assert delay(99, policy, random=1.0) == 2.0


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_jitter_is_full_from_nothing_to_the_scheduled_wait(failures: int, random: float) -> None:
    policy = Policy(HANDLER_WAITS, tries=99)
    assert delay(failures, policy, random=0.0) == 0
    wait, most = delay(failures, policy, random), delay(failures, policy, random=1.0)
    assert wait is not None
    assert most is not None
    assert wait == pytest.approx(random * most)


def test_retry_after_is_the_least_wait_not_the_most() -> None:
    policy = Policy((10.0,), tries=5)
    assert delay(1, policy, random=0.5, retry_after=2.0) == 5.0
    assert delay(1, policy, random=0.5, retry_after=30.0) == 30.0


def test_no_try_begins_after_the_deadline() -> None:
    policy = Policy((10.0,), tries=5, deadline=100.0)
    assert delay(1, policy, random=1.0, age=90.0) == 10.0
    assert delay(1, policy, random=1.0, age=91.0) is None
    assert delay(1, policy, random=0.0, age=50.0, retry_after=51.0) is None


def test_tries_count_the_first_one() -> None:
    assert delay(1, Policy((1.0,), tries=1), random=0.5) is None
    assert delay(1, Policy((1.0,), tries=2), random=0.5) == 0.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("99999999999", LONGEST_WAIT),
        ("9" * 5000, LONGEST_WAIT),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90),
        ("Sun Mar  1 12:01:30 2026", 90),
        ("Sun, 01 Mar 2026 13:01:30 +0100", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Tue, 01 Mar 2033 12:00:00 GMT", LONGEST_WAIT),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("01 Mar 2026 12:00:00 +99999999999999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW.timestamp()) == seconds


WORDS = st.sampled_from(
    ["Sun,", "01", "Mar", "Mai", "2026", "0000", "99999", "12:00:00", "GMT", "+9999999999", "-0000"]
)


@given(st.one_of(st.text(), st.lists(WORDS | st.text(max_size=5)).map(" ".join)))
def test_no_retry_after_raises_or_is_out_of_bounds(value: str) -> None:
    wait = parse_retry_after(value, NOW.timestamp())
    assert wait is None or 0 <= wait <= LONGEST_WAIT


@given(st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 1, 23), timezones=st.just(UTC)))  # noqa: DTZ001 - the zone is the strategy's
def test_every_date_of_the_next_hours_is_read(date: datetime) -> None:
    whole = date.replace(microsecond=0)
    expected = max((whole - NOW).total_seconds(), 0)
    assert parse_retry_after(format_datetime(whole, usegmt=True), NOW.timestamp()) == expected


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *[(status, "delivered") for status in (200, 201, 202, 204, 299)],
        *[(status, "later") for status in (None, 408, 425, 429, 500, 502, 503, 504, 599)],
        *[(status, "dead") for status in (300, 301, 307, 308, 400, 401, 403, 404, 413, 422, 451)],
        (410, "pause"),
    ],
)
def test_every_answer_has_a_meaning(status: int | None, meaning: str) -> None:
    assert verdict(status) == meaning


def test_what_may_not_be_dialled_is_dead_at_once() -> None:
    assert verdict(None, final=True) == "dead"
