from __future__ import annotations

from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.masking import Vault, hide
from bridge.core.masking.concealing import Conceal
from bridge.core.masking.vocabulary import words

PLAIN = words("the please we will look for your and is Monday, thank you sure. Can help can't résumé at")
PERSONAL = [
    "4111 1111 1111 1111", "415-555-0100", "(415) 555-0100", "four one five five five five oh one",
    "jane.doe@gmail.com", "jane dot doe at gmail dot com", "078-05-1120",
    "DE89 3704 0044 0532 0130 00", "10.0.0.1",
]  # fmt: skip
# What names a number in passing, or reaches back over the words before it.
NAMED = [
    "j a n e at gmail dot com",
    "ssn 3366",
    "card ending 4242",
    "my pin is 4432",
    "password is hunter2",
    "order number",
    "my password is correct horse",
    "$1,250.00",
    "March 3rd",
]
EVERYWHERE = (1,)
CUTS = st.lists(st.integers(1, 30), max_size=12).map(tuple) | st.just(EVERYWHERE)


def texts(*words: str) -> st.SearchStrategy[str]:
    """Texts with a plain word between any two others: side by side, two numbers may be read as one."""
    return st.lists(st.tuples(st.sampled_from(PLAIN), st.sampled_from([*PLAIN, *words])), max_size=8).map(
        lambda pairs: " ".join(word for pair in pairs for word in pair)
    )


def streamed(text: str, lengths: tuple[int, ...]) -> str:
    """What goes out when the text comes in pieces of these lengths, over and over."""
    conceal, out, at = Conceal(Vault()), "", 0
    for length in cycle(lengths or (len(text) or 1,)):
        if at >= len(text):
            return out + conceal.close().text
        out += conceal.feed(text[at : at + length]).text
        at += length
    raise AssertionError


@given(texts(*PERSONAL), CUTS)
def test_any_cut_of_plain_words_and_personal_data_is_masked_as_the_whole_is(
    text: str, lengths: tuple[int, ...]
) -> None:
    assert streamed(text, lengths) == hide(text, Vault()).text


@given(texts(*PERSONAL, *NAMED), CUTS)
def test_nothing_that_the_whole_hides_is_ever_out(text: str, lengths: tuple[int, ...]) -> None:
    """Words far off may change a label, or have more masked than the whole would; never less."""
    whole, out = hide(text, Vault()).text, streamed(text, lengths)
    parts = {part for personal in [*PERSONAL, *NAMED] for part in personal.split() if len(part) > 3}
    for part in parts - {"order", "number", "word", "card", "ending", "with"}:
        assert part not in out or part in whole


@given(texts())
def test_plain_words_wait_for_the_next_one_to_begin_and_around_at_for_one_more(text: str) -> None:
    conceal, out = Conceal(Vault()), ""
    for fed, sign in enumerate(text, 1):
        out += conceal.feed(sign).text
        behind = text[len(out) : fed].split()
        assert len(behind) <= 2 + 2 * behind.count("at"), behind


def test_a_word_goes_out_when_it_is_clear_that_no_address_follows() -> None:
    conceal = Conceal(Vault())
    assert conceal.feed("please look ").text == "please "
    assert conceal.feed("a").text == ""
    assert conceal.feed("fter it").text == "look after "
    assert conceal.feed(" at the").text == ""
    assert conceal.feed(" d").text == ""
    assert conceal.feed("esk").text == "it at the "
    assert conceal.close().text == "desk"


def test_what_is_held_can_be_asked_for_without_being_let_out() -> None:
    conceal = Conceal(Vault())
    assert conceal.feed("call me on 415-555").text == "call me on "
    assert conceal.rest().text == conceal.rest().text == "[PHONE_1]"
    assert conceal.feed("-0100 then we").text == "[PHONE_2] then "
    assert conceal.close().text == "we"
    assert conceal.close().text == ""


def test_a_long_piece_does_not_let_half_a_number_out() -> None:
    conceal = Conceal(Vault())
    out = conceal.feed("word " * 80 + "call 415-").text + conceal.feed("555-0100 now").text + conceal.close().text
    assert out == "word " * 80 + "call [PHONE_1] now"


def test_a_run_without_end_is_let_out_masked_and_not_kept_for_ever() -> None:
    conceal = Conceal(Vault())
    out = "".join(conceal.feed("4111 ").text for _ in range(500))
    assert "4111" not in out
    assert len(conceal._held) < 250


def test_an_address_that_is_spelled_is_held_from_its_first_letter() -> None:
    assert streamed("help j a n e at gmail dot com", EVERYWHERE) == "help [EMAIL_1]"


def test_its_repr_holds_nothing() -> None:
    conceal = Conceal(Vault())
    conceal.feed("call 415-555")
    assert "415" not in repr(conceal)
