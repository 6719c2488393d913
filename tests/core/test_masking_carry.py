from __future__ import annotations

import pytest

from bridge.core.masking import Carry, Vault, hide


def _said(*utterances: str) -> list[str]:
    vault, carry = Vault(), Carry()
    return [hide(text, vault, carry=carry).text for text in utterances]


def test_a_card_cut_in_two_is_masked_in_both_halves() -> None:
    assert _said("my card is 4111 1111", "1111 1111 thanks") == ["my card is [CARD_1]", "[CARD_2] thanks"]


def test_a_spoken_number_that_goes_on_is_masked_however_short_its_rest() -> None:
    first, second = _said("it is four one five five five five", "oh one")
    assert "four" not in first
    assert "one" not in second


def test_a_name_at_the_end_names_the_number_that_follows() -> None:
    assert _said("the last four of my social are", "3366 okay") == ["the last four of my social are", "[SSN_1] okay"]


def test_an_address_that_goes_on_is_masked_from_the_border_on() -> None:
    assert _said("jane dot doe", "at gmail dot com") == ["jane dot doe", "[EMAIL_1]"]


def test_four_digits_at_the_end_may_be_a_beginning() -> None:
    assert _said("well it starts with 4829") == ["well it starts with [ACCOUNT_1]"]


@pytest.mark.parametrize("last", ["in 2019", "it was 250 dollars", "order number 4829", "march 12 2026", "about 1500"])
def test_years_amounts_and_orders_at_the_end_stay_readable(last: str) -> None:
    assert _said(last, "and then nothing came") == [last, "and then nothing came"]


def test_a_number_in_four_pieces_is_masked_from_the_first_on() -> None:
    assert all(piece.startswith("[") and piece.endswith("]") for piece in _said("4111", "1111", "11", "111111"))


def test_speakers_do_not_share_a_carry() -> None:
    vault, customer, agent = Vault(), Carry(), Carry()
    hide("my social is", vault, carry=customer)
    assert hide("one moment 336 please", vault, carry=agent).text == "one moment 336 please"


def test_its_repr_hides_what_was_said() -> None:
    carry = Carry()
    hide("my card is 4111 1111", Vault(), carry=carry)
    assert "4111" not in repr(carry)
