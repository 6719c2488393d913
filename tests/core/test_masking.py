from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.masking import Kind, Masked, Shown, Vault, find, hide, show
from bridge.core.masking.cleared import Seal
from bridge.core.masking.vocabulary import words

CORPUS = Path(__file__).parents[1] / "corpus" / "masking.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]

PIECES = st.sampled_from(
    [
        *words("""
        4111 1111 four five double oh hundred and um my ssn card is password pin code bob jane dot at
        gmail com gmailcom @ . , - ( 415-555-0100 [PHONE_1] [CARD_9] [EMAIL_1 ] 2026 march 12 $ order
        number the 90210 a x 10.0.0.1 :: last four ending GB82WEST12345698765432 in zip CA 3366 is my e
        15 dollars name phone jane@x.com sw1a 1aa 123-45-6789 12:30 born twenty
        """),
        *("é", "\u200b", "\uff14\uff11\uff11\uff11", "\u0661\u0662\u0663", "\ud800"),
    ]
)
TALK = st.one_of(st.text(), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:50])
def test_finds_what_the_corpus_names_and_nothing_else(case: dict[str, object]) -> None:
    text = str(case["text"])
    assert [[text[span.start : span.end], span.kind.value] for span in find(text)] == case["found"]


@given(TALK)
def test_spans_are_sorted_disjoint_and_within_the_text(text: str) -> None:
    reached = 0
    for span in find(text):
        assert reached <= span.start < span.end <= len(text)
        reached = span.end


@given(TALK)
def test_hiding_hidden_text_changes_nothing(text: str) -> None:
    vault = Vault()
    once = hide(text, vault)
    assert hide(once.text, vault) == once


@given(TALK)
def test_text_without_spans_passes_unchanged(text: str) -> None:
    if not find(text) and not {"[", "\ud800"} & set(text):
        assert hide(text, Vault()).text == text


def test_the_same_value_keeps_its_placeholder_however_it_is_said() -> None:
    vault = Vault()
    assert hide("call 415-555-0100", vault).text == "call [PHONE_1]"
    assert hide("or 212 555 0199", vault).text == "or [PHONE_2]"
    assert hide("that is four one five, five five five, oh one double oh", vault).text == "that is [PHONE_1]"
    assert hide("Jane.Doe@Example.com", vault).text == "[EMAIL_1]"
    assert hide("jane dot doe at example dot com", vault).text == "[EMAIL_1]"


def test_shows_only_the_allowed_kinds() -> None:
    vault = Vault()
    masked = hide("card 4111 1111 1111 1111, phone 415 555 0100", vault)
    assert masked.text == "card [CARD_1], phone [PHONE_1]"
    assert show(masked, vault, {Kind.PHONE}).text == "card [CARD_1], phone 415 555 0100"


def test_a_placeholder_that_a_customer_types_never_becomes_a_number() -> None:
    vault = Vault()
    typed = hide("give me [PHONE_1] and [CARD_4111111111111111]", vault)
    assert "4111" not in typed.text
    hide("call 415 555 0100", vault)
    assert show(typed, vault, set(Kind)).text.startswith("give me (PHONE) and")
    assert "415" not in show(typed, vault, set(Kind)).text


def test_another_conversation_s_placeholder_stays_closed() -> None:
    mine, yours = Vault(), Vault()
    hide("call 415 555 0100", yours)
    assert "415" not in show(hide("what is [PHONE_1]", mine), mine, set(Kind)).text


def test_nobody_else_can_clear_text() -> None:
    with pytest.raises(TypeError, match="seal"):
        Masked("4111 1111 1111 1111")  # type: ignore[call-arg]  # the checker refuses it too
    with pytest.raises(TypeError, match="only"):
        Masked("4111 1111 1111 1111", seal=Seal())
    with pytest.raises(TypeError, match="only"):
        Shown("4111 1111 1111 1111", seal=Seal())


def test_masked_text_is_a_value() -> None:
    assert Masked.literal("a") == Masked.literal("a")
    assert {Masked.literal("a"), Masked.literal("a")} == {Masked.literal("a")}
    assert str(Masked.join(", ", [Masked.literal("a"), Masked.literal("b")])) == "a, b"
    assert len(Masked.literal("abc")) == 3
    assert Masked.literal("a").__eq__("a") is NotImplemented


def test_a_vault_s_repr_hides_its_values() -> None:
    vault = Vault()
    hide("call 415 555 0100 or jane@example.com", vault)
    assert "415" not in repr(vault)
    assert "jane" not in repr(vault)
    assert "2 values" in repr(vault)
