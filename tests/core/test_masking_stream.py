from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.masking import Kind, Masked, Reveal, Vault, hide, show

ANSWERS = st.lists(
    st.sampled_from(
        ["[PHONE_1]", "[EMAIL_1]", "[CARD_1]", "[PHONE_2]", "[", "]", "[PHO", "NE_", "1", "[[", "see ", "é", "_"]
    ),
    max_size=20,
).map("".join)


def _vault() -> Vault:
    vault = Vault()
    hide("415 555 0100, jane@example.com, 4111 1111 1111 1111", vault)
    return vault


def _masked(text: str, vault: Vault) -> Masked:
    return hide(text, vault)


@given(ANSWERS, st.lists(st.integers(0, 120), max_size=12))
def test_any_cut_of_any_text_shows_the_same_whole(text: str, cuts: list[int]) -> None:
    vault = _vault()
    masked, allowed = _masked(text, vault), {Kind.PHONE, Kind.EMAIL}
    reveal = Reveal(vault, allowed)
    edges = [0, *sorted(min(cut, len(masked)) for cut in cuts), len(masked)]
    shown = [reveal.feed(masked.text[start:end]).text for start, end in pairwise(edges)]
    assert "".join(shown) + reveal.close().text == show(masked, vault, allowed).text


@given(ANSWERS)
def test_never_holds_more_than_a_placeholder_back(text: str) -> None:
    reveal, out = Reveal(Vault(), set()), ""
    for fed, sign in enumerate(text, 1):
        out += reveal.feed(sign).text
        assert fed - len(out) <= len("[NATIONAL_ID_9999999")


def test_holds_back_only_what_could_still_become_a_placeholder() -> None:
    reveal = Reveal(_vault(), {Kind.PHONE})
    assert reveal.feed("call [PHO").text == "call "
    assert reveal.feed("NE_1").text == ""
    assert reveal.feed("] or [see").text == "415 555 0100 or [see"
    assert reveal.feed(" [PHONE_x").text == " [PHONE_x"
    assert reveal.feed("[IB").text == ""
    assert reveal.close().text == "[IB"


def test_a_stream_s_repr_and_a_closed_stream_hold_nothing() -> None:
    reveal = Reveal(_vault(), {Kind.PHONE})
    reveal.feed("[PHONE_")
    assert "415" not in repr(reveal)
    reveal.close()
    assert reveal.close().text == ""
