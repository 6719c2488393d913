from __future__ import annotations

from typing import Literal

import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.core.budget import OutputMeter, Window, day_of, fit, reservation
from bridge.core.tokens import message_tokens, most_tokens, vocabulary
from bridge.errors import BudgetError

O200K = vocabulary("o200k")
unhurried = settings(deadline=None)


@frozen
class Said:
    """A turn whose content is no plain string."""

    role: str
    words: tuple[str, ...]

    @property
    def content(self) -> Words:
        return Words(self.words)


@frozen
class Words:
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


def said(role: str, *words: str) -> Said:
    return Said(role, words)


def tokens(turns: tuple[Said, ...] | list[Said]) -> int:
    return message_tokens(O200K, [(turn.role, str(turn.content)) for turn in turns])


SYSTEM = said("system", "Be", "brief.")
TALK = [said(role, "word", str(n)) for n, role in enumerate(["user", "assistant"] * 3)]
QUESTION = said("user", "What", "now?")
ALL = [SYSTEM, *TALK, QUESTION]


def leaving(prompt: int) -> Window:
    return Window(prompt + 50, 50)


def test_prompt_that_fits_exactly_is_left_alone() -> None:
    fitted = fit(ALL, leaving(tokens(ALL)), O200K)
    assert (fitted.turns, fitted.dropped, fitted.prompt_tokens) == (tuple(ALL), 0, tokens(ALL))


def test_one_token_less_drops_the_oldest_turn_whole() -> None:
    fitted = fit(ALL, leaving(tokens(ALL) - 1), O200K)
    assert (fitted.turns, fitted.dropped) == ((SYSTEM, *TALK[1:], QUESTION), 1)


def test_keeping_the_earliest_drops_the_newest_turn_but_the_question() -> None:
    fitted = fit(ALL, leaving(tokens(ALL) - 1), O200K, keep="earliest")
    assert (fitted.turns, fitted.dropped) == ((SYSTEM, *TALK[:-1], QUESTION), 1)


def test_system_turns_stay_wherever_they_stand() -> None:
    turns = [*TALK, SYSTEM, QUESTION]
    assert fit(turns, leaving(tokens([SYSTEM, QUESTION])), O200K).turns == (SYSTEM, QUESTION)


def test_an_answer_after_the_question_goes_before_the_question() -> None:
    turns = [SYSTEM, QUESTION, said("assistant", "long", "ago")]
    assert fit(turns, leaving(tokens(turns) - 1), O200K).turns == (SYSTEM, QUESTION)


def test_prompt_that_cannot_fit_is_refused_by_how_much_and_without_its_text() -> None:
    least = tokens([SYSTEM, QUESTION])
    with pytest.raises(BudgetError, match=f"^the prompt is 3 tokens too long: .* need {least}, .* leaves {least - 3}$"):
        fit(ALL, leaving(least - 3), O200K)


def test_output_larger_than_the_window_leaves_no_room() -> None:
    with pytest.raises(BudgetError, match="leaves -10"):
        fit([QUESTION], Window(40, 50), O200K)


def test_no_turns_are_the_reply_priming_alone() -> None:
    assert fit([], Window(100, 50), O200K).prompt_tokens == 3


turns = st.lists(st.builds(Said, st.sampled_from(["system", "user", "assistant"]), st.tuples(st.text(max_size=12))))


@unhurried
@given(turns=turns, room=st.integers(0, 120))
@example(turns=ALL, room=60)
def test_fitted_prompt_is_within_the_window_and_drops_no_more_than_it_must(turns: list[Said], room: int) -> None:
    pinned = [turn for turn in turns if turn.role == "system"] + [turn for turn in turns if turn.role == "user"][-1:]
    try:
        fitted = fit(turns, leaving(room), O200K)
    except BudgetError:
        assert tokens(pinned) > room
        return
    assert fitted.prompt_tokens == tokens(fitted.turns) <= room
    dropped = [turn for turn in turns if not any(turn is kept for kept in fitted.turns)]
    assert fitted.dropped == len(dropped)
    assert [turn for turn in turns if not any(turn is gone for gone in dropped)] == list(fitted.turns)
    assert all(any(turn is kept for kept in fitted.turns) for turn in pinned)
    assert not dropped or tokens([*fitted.turns, dropped[-1]]) > room


@unhurried
@given(pieces=st.lists(st.text(max_size=8), max_size=20), limit=st.integers(0, 30))
@example(pieces=["don", "'t go", " there"], limit=2)
def test_meter_passes_whole_pieces_until_one_goes_beyond_the_limit(pieces: list[str], limit: int) -> None:
    meter, passed, whole = OutputMeter(O200K, limit), "", ""
    for piece in pieces:
        kept, cut = meter.feed(piece)
        passed, whole = passed + kept, whole + piece
        assert O200K.count(passed) == meter.tokens <= limit
        assert cut == meter.cut == (passed != whole)
        assert whole.startswith(passed)


@unhurried
@given(
    pieces=st.lists(st.text(st.sampled_from("aé1 '.\U0001f44d一"), max_size=8), max_size=20),
    limit=st.integers(0, 60),
    name=st.sampled_from(["o200k", "cl100k", "estimate"]),
)
@example(pieces=["don", "'t go", " there"], limit=2, name="o200k")
def test_meter_that_puts_counting_off_passes_what_one_that_counts_each_piece_does(
    pieces: list[str], limit: int, name: Literal["o200k", "cl100k", "estimate"]
) -> None:
    hasty, lazy = OutputMeter(vocabulary(name), limit), OutputMeter(vocabulary(name), limit)
    for piece in pieces:
        passed = hasty.feed(piece)
        assert hasty.tokens <= limit  # asked, so counted
        assert lazy.feed(piece) == passed
    assert lazy.tokens == hasty.tokens


@unhurried
@given(text=st.text(), name=st.sampled_from(["o200k", "cl100k", "estimate"]))
@example(text="\ud800", name="o200k")
@example(text="𒀀", name="o200k")
def test_a_token_has_at_least_one_byte(text: str, name: Literal["o200k", "cl100k", "estimate"]) -> None:
    assert vocabulary(name).count(text) <= most_tokens(text)


def test_meter_fills_the_limit_and_then_passes_nothing() -> None:
    meter = OutputMeter(O200K, 5)
    assert meter.feed("one two three") == ("one two three", False)
    assert meter.feed(" four five six") == (" four five", True)
    assert meter.tokens == 5
    assert meter.feed(" seven") == ("", True)


def test_text_of_exactly_the_limit_is_not_cut() -> None:
    meter = OutputMeter(O200K, 3)
    assert meter.feed("one two three") == ("one two three", False)
    assert meter.feed("") == ("", False)
    assert meter.feed("!") == ("", True)


def test_call_reserves_the_most_it_can_cost() -> None:
    assert reservation(prompt_tokens=300, max_output=200) == 500


@pytest.mark.parametrize(
    ("at_ms", "day"),
    [(0, "1970-01-01"), (86_399_999, "1970-01-01"), (86_400_000, "1970-01-02"), (1_769_903_999_999, "2026-01-31")],
)
def test_day_begins_at_midnight_utc(at_ms: int, day: str) -> None:
    assert day_of(at_ms) == day
