"""One conversation's placeholders and what they stand for. In memory only."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from bridge.core.masking.digits import SPOKEN, runs
from bridge.core.masking.spans import Kind
from bridge.core.masking.vocabulary import SAID_FOR_A_SIGN


def _same(kind: Kind, value: str) -> str:
    """What two sayings of one value have in common: a mail's signs, a number's digits; else its letters."""
    said = value.lower().split()
    if kind is Kind.EMAIL:
        signs = {**SAID_FOR_A_SIGN, "at": "@"}
        return "".join(signs.get(word) or SPOKEN.get(word, (word,))[0] for word in said)
    numbers = list(runs(value))
    if sum(run.end - run.start for run in numbers) >= len(value.strip(" +()#")):
        return "".join(run.digits for run in numbers)
    return "".join(said)


@define(repr=False)
class Vault:
    """Placeholder <-> value. The same value, written or spoken, gets the same placeholder."""

    _values: dict[str, tuple[Kind, str]] = field(init=False, factory=dict)
    _known: dict[str, str] = field(init=False, factory=dict)
    _last: Counter[Kind] = field(init=False, factory=Counter)

    def placeholder(self, kind: Kind, value: str) -> str:
        """The placeholder of a value; a new one, `[KIND_n]`, when the conversation has not held it before."""
        same = _same(kind, value)
        if same not in self._known:
            self._last[kind] += 1
            name = f"[{kind}_{self._last[kind]}]"
            self._known[same] = name
            self._values[name] = (kind, value)
        return self._known[same]

    def lookup(self, placeholder: str) -> tuple[Kind, str] | None:
        """Kind and value as first said; None when this conversation holds no such placeholder."""
        return self._values.get(placeholder)

    def __contains__(self, placeholder: str) -> bool:
        return placeholder in self._values

    def __repr__(self) -> str:
        return f"<Vault of {len(self._values)} values>"
