"""A conversation's placeholders, and beside them those that one run of a handler adds.

A conversation's own vault is made from its log alone, so that it is the same whenever it is read again, after a crash
too: then a prompt is the same again, byte for byte, as its Idempotency-Key demands. What a model says or a handler
writes must therefore leave no trace in it.
"""

from __future__ import annotations

from attrs import define, field

from bridge.core.masking import Kind, Vault
from bridge.core.masking.vault import _same

FIRST_OWN = 100_001
"""No conversation holds that many values of one kind, so the two never share a name. A thousand fit into one body."""


@define(repr=False)
class Borrowed(Vault):
    """Knows what `of` knows; what is new stays here, counted from `FIRST_OWN`."""

    of: Vault = field(factory=Vault)

    def __attrs_post_init__(self) -> None:
        self._last.update(dict.fromkeys(Kind, FIRST_OWN - 1))

    def placeholder(self, kind: Kind, value: str) -> str:
        """The conversation's placeholder of a value; else one of our own."""
        return self.of._known.get(_same(kind, value)) or super().placeholder(kind, value)  # noqa: SLF001 - of our class

    def lookup(self, placeholder: str) -> tuple[Kind, str] | None:
        """Kind and value as first said."""
        return self.of.lookup(placeholder) or super().lookup(placeholder)

    def __contains__(self, placeholder: str) -> bool:
        return placeholder in self.of or super().__contains__(placeholder)
