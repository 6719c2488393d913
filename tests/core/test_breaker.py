from __future__ import annotations

from bridge.core.breaker import Breaker


def opened(*, limit: int = 3, pause: float = 10.0, at: float = 100.0) -> Breaker:
    breaker = Breaker(limit, pause)
    for _ in range(limit):
        breaker.failed(at)
    return breaker


def test_it_stays_closed_below_its_limit() -> None:
    breaker = Breaker(3)
    breaker.failed(0)
    breaker.failed(0)
    assert breaker.admit(0)
    assert breaker.wait(0) == 0


def test_it_opens_at_its_limit_and_says_for_how_long() -> None:
    breaker = opened()
    assert not breaker.admit(100)
    assert breaker.wait(104) == 6


def test_only_failures_in_a_row_count() -> None:
    breaker = Breaker(2)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.admit(0)


def test_after_the_pause_one_trial_is_let_through_and_no_second() -> None:
    breaker = opened()
    assert breaker.admit(110)
    assert not breaker.admit(110)


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.admit(110)
    breaker.succeeded()
    assert breaker.admit(110)
    assert breaker.admit(110)


def test_a_trial_that_fails_opens_it_for_another_pause() -> None:
    breaker = opened()
    breaker.admit(110)
    breaker.failed(112)
    assert not breaker.admit(121)
    assert breaker.admit(122)


def test_a_trial_that_never_reports_back_blocks_nothing() -> None:
    breaker = opened()
    breaker.admit(110)
    assert breaker.admit(120)
