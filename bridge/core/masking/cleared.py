"""Text that has been cleared: `Masked` may leave the process, `Shown` may reach the agent's panel.

Both are guarded twice. The type checker refuses a plain string where one of them is asked for, and a call without a
seal; the constructor refuses every seal but this module's, which only the masking modules hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, LiteralString

from attrs import Attribute, field, frozen


class Seal:
    """The right to clear text. There is one, `SEAL`, and it belongs to the masking modules."""


SEAL: Final = Seal()


def _sealed(made: object, _: Attribute[Any], seal: object) -> None:
    if seal is not SEAL:
        name = type(made).__name__
        raise TypeError(f"{name} text is made by bridge.core.masking only: use hide(), show() or Masked.literal()")


@frozen
class Masked:
    """Text cleared for leaving the process: to a model, a log, a CRM, a recording, an audit record."""

    text: str
    _seal: Seal = field(repr=False, eq=False, kw_only=True, validator=_sealed)

    @classmethod
    def literal(cls, text: LiteralString) -> Masked:
        """Text that the program itself wrote, and nothing that anybody said."""
        return cls(text, seal=SEAL)

    @classmethod
    def join(cls, sep: LiteralString, parts: Iterable[Masked]) -> Masked:
        """One text out of several. Digits on both sides of a border are not looked at again: see `Carry` for those."""
        return cls(sep.join(part.text for part in parts), seal=SEAL)

    @classmethod
    def operator(cls, text: str) -> Masked:
        """Text that the operator wrote into the settings, such as a system prompt: nothing that anybody said."""
        return cls(text, seal=SEAL)

    @classmethod
    def fill(cls, render: Callable[[Mapping[str, str]], str], values: Mapping[str, Masked]) -> Masked:
        """A template of the operator's (`render`), filled with cleared values only."""
        return cls(render({name: value.text for name, value in values.items()}), seal=SEAL)

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return len(self.text)


@frozen
class Shown:
    """Text cleared for the agent's panel, and for nothing else."""

    text: str
    _seal: Seal = field(repr=False, eq=False, kw_only=True, validator=_sealed)

    def __str__(self) -> str:
        return self.text
