"""Four times the text takes about four times as long; a quadratic step would take sixteen times."""

from __future__ import annotations

import time

import pytest

from bridge.core.masking import Reveal, Vault, hide


def _seconds(text: str) -> float:
    tries = []
    for _ in range(2):
        began = time.process_time()
        hide(text, Vault())
        tries.append(time.process_time() - began)
    return min(tries)


@pytest.mark.parametrize(
    "unit",
    [
        *("4", "1:", "1.", "12 ", "((1", "a1", "1 x ", "1 um ", "( + ", "5 and 5 ", "12/12/2020 ", "jan 1 "),
        *("four ", "double ", "ssn 1234 ", "[PHONE_1] 12345 ", "password is x1 ", "gb82 "),
        *("a@", "x@y.com ", "at dot ", "gmailcom "),
    ],
)
def test_time_grows_with_the_text_and_not_faster(unit: str) -> None:
    short, long = (unit * (size // len(unit)) + " 12345" for size in (2_000, 8_000))
    assert _seconds(long) < 10 * _seconds(short) + 0.005


def test_a_stream_of_single_brackets_is_not_held() -> None:
    reveal = Reveal(Vault(), set())
    assert len(reveal.feed("[" * 100_000).text) == 99_999
