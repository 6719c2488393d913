"""Personal data dressed up so that a reader of plain patterns passes it by."""

from __future__ import annotations

import pytest

from bridge.core.masking import Vault, hide

CARD = "4111 1111 1111 1111"
DRESSED = {
    "zero-width signs and spaces in turn": "4111\u2063 1111\u2064 1111\ufeff 1111",
    "many zero-width signs": "4111" + "\u200b" * 40 + "1111 1111 1111",
    "direction marks": "4111\u202e1111\u200f1111\u20661111",
    "NUL and escape": "4111\x001111\x1b1111\x081111",
    "an accent on a digit": "4\u0301111 1111 1111 1111",
    "wide spaces": "4111\u30001111\u202f1111\u20091111",
    "one digit a line": "4\n" * 16,
    "other scripts": "\u0664\u0661\u0661\u0661 \u096a\u0967\u0967\u0967 \uff11\uff11\uff11\uff11 1111",
}
MAILS = [
    "jane.doe@example.com",
    "jane.doe\uff20example.com",
    "jane.doe%40example.com",
    "jane.doe&#64;example.com",
    "jane.doe&#x40;example.com",
    "jane.doe(at)example.com",
    "jane.doe [at] example [dot] com",
    "jane.doe@example\u3002com",
    '"jane doe"@example.com',
    "jane.doe\u200b@example.com",
]


@pytest.mark.parametrize("dressed", DRESSED.values(), ids=DRESSED)
def test_a_card_is_found_whatever_stands_between_its_digits(dressed: str) -> None:
    hidden = hide(f"my card is {dressed} thanks", Vault()).text
    assert not any(sign.isdecimal() for sign in hidden.replace("[CARD_1]", ""))
    assert hidden.startswith("my card is ")
    assert hidden.endswith(" thanks")


@pytest.mark.parametrize("mail", MAILS)
def test_an_address_is_found_whatever_stands_for_its_sign(mail: str) -> None:
    assert hide(f"write to {mail} please", Vault()).text == "write to [EMAIL_1] please"


@pytest.mark.parametrize("plain", ["meet (at) noon", "50%40 off", 'he said "yes" at home', "see figure 3 [dot] plot"])
def test_what_only_resembles_such_an_address_stays(plain: str) -> None:
    assert hide(plain, Vault()).text == plain
