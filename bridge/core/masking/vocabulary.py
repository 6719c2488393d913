"""Words that the masking knows, as sets."""

from __future__ import annotations

from typing import Final


def words(text: str) -> tuple[str, ...]:
    """The words of a text, for lists that would be a page long with a quote around each."""
    return tuple(text.split())


ENDS_LIKE_A_DOMAIN: Final = frozenset(
    words("""
    internet intranet ethernet cabinet bonnet magnet planet garnet hornet sonnet clarinet cabernet telecom
    intercom sitcom dotcom romcom welcom cyborg incon telcom icon recon silicon falcon bacon beacon deacon
    lexicon zircon tycoon
    """)
)
"""Words that end in com, net, org or con, and are no address without its dot."""

SAID_FOR_A_SIGN: Final = {
    "dot": ".",
    "period": ".",
    "point": ".",
    "underscore": "_",
    "dash": "-",
    "hyphen": "-",
    "minus": "-",
    "plus": "+",
}
"""How the signs within an address are said; `at` is the sign between its halves."""

BEFORE_AN_ADDRESS: Final = frozenset(
    words("""
    a i the is its it's my me at to on in or and so um uh er yes yeah yep no ok okay sure be as for of by with
    from that that's thats this email e-mail mail emails address addresses id send sent it was would will can
    you your us we he she they work works worked working look looks looked looking shop shopping buy bought
    order ordered visit online site website account here there are please just not find found check called name
    named call get got go went back up out
    """)
)
"""Words before `at gmail` that belong to the sentence, not to the address."""

NO_SECRET: Final = frozenset(
    words("""
    a an the my your our his her its this that it not no yes wrong right correct incorrect valid invalid too
    also still very so really as at in on to of or and but for from can could with when what why how if is was
    be been i you we they he she me us one please thanks secure weak strong long short safe good bad old new
    same different reset change changes changed update there here now then again always never something anything
    secret because protected required needed gone lost stuck dollars manager screen field page option
    """)
)
"""Words after `password` or `password is` that are no password."""
