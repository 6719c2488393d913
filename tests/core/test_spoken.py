"""Numbers as people say them: whatever the way, those that name somebody go and quantities stay."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.masking import find
from bridge.core.masking.vocabulary import words

UNITS = words("zero one two three four five six seven eight nine")
TEENS = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = words("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
MONTHS = words("january february march april may june july august september october november december")


def below_100(number: int) -> str:
    if number < 20:
        return [*UNITS, *TEENS][number]
    return TENS[number // 10] + (f" {UNITS[number % 10]}" if number % 10 else "")


def cardinal(number: int) -> str:
    for size, word in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {cardinal(number % size)}" if number % size else ""
            return f"{cardinal(number // size)} {word}{rest}"
    return below_100(number)


def dictated(digits: str, luck: Random) -> str:
    """The digits one by one, in pairs, doubled, with pauses: as a caller would."""
    words: list[str] = []
    at = 0
    while at < len(digits):
        one, two = digits[at], digits[at : at + 2]
        if len(two) == 2 and two[0] == two[1] and luck.random() < 0.5:
            words.append(f"double {UNITS[int(one)]}")
            at += 2
        elif len(two) == 2 and two[0] != "0" and luck.random() < 0.3:
            words.append(below_100(int(two)))
            at += 2
        else:
            words.append("oh" if one == "0" and luck.random() < 0.5 else UNITS[int(one)])
            at += 1
        words[-1] += luck.choice(["", "", "", "", ",", " um", ", uh,", " -", "."])
    return " ".join(words)


@given(st.text("0123456789", min_size=7, max_size=16), st.randoms(use_true_random=False))
def test_a_dictated_number_is_masked_whole(digits: str, luck: Random) -> None:
    said = re.sub(r"(,? uh,| um|[ ,.-])+$", "", dictated(digits, luck))
    text = f"yes so it is {said} thank you"
    start = len("yes so it is ")
    spans = find(text)
    assert any(span.start <= start and span.end >= start + len(said) for span in spans), (text, spans)


@given(st.integers(1, 9_999_999), st.sampled_from(["", " dollars", " euros", " people", " percent", " miles"]))
def test_a_quantity_in_words_stays_readable(number: int, unit: str) -> None:
    assert find(f"they told me it would be {cardinal(number)}{unit} in all") == []


@given(st.integers(1, 28), st.sampled_from(MONTHS), st.integers(1920, 2029))
def test_a_date_in_words_stays_readable(day: int, month: str, year: int) -> None:
    pair = f"{below_100(year // 100)} {below_100(year % 100) if year % 100 > 9 else 'oh ' + UNITS[year % 100]}"
    assert find(f"I was born on {month} {below_100(day)} {pair}") == []
    assert find(f"it came on the {below_100(day)} of {month} {pair}") == []


@given(st.integers(1, 12), st.integers(10, 59))
def test_a_time_in_words_stays_readable(hour: int, minute: int) -> None:
    assert find(f"come at {below_100(hour)} {below_100(minute)} or call at {hour}:{minute:02} pm") == []


@pytest.mark.parametrize(
    "text",
    [
        "my email is j dot smith at yahoo dot com",
        "it's mary underscore ann at g mail dot com",
        "sure bob one two three at hotmail dot co dot uk",
        "anna dash lee at big house dot org",
        "p e t e r at outlook dot com",
        "tom forty five at gmail",
        "kim at the rate gmail dot com",
        "jo at example.com",
    ],
)
def test_an_address_said_aloud_is_masked_to_its_end(text: str) -> None:
    (span,) = find(text)
    assert span.kind == "EMAIL"
    assert span.end == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "meet me at noon",
        "I looked at the dot on the screen",
        "he works at gmail",
        "look at example dot com",
        "we are at home dot",
    ],
)
def test_a_place_is_no_address(text: str) -> None:
    assert find(text) == []
