"""A conversation as masked turns, made from its events in log order.

Built again from the same log it is the same, placeholders included; so an owner may forget it at any time.
"""

from __future__ import annotations

from attrs import define, field, frozen

from bridge.core.events import Event, Speaker, TranscriptionStatus, Utterance
from bridge.core.masking import Carry, Masked, Vault, hide

ENDED = "SESSION_ENDED"
_HARMLESS = {
    ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
}


@frozen
class Line:
    """One turn, on one line: nobody can speak in another's name. `seq` is its event's place in the log."""

    seq: int
    event: str
    speaker: Speaker
    start_ms: int
    end_ms: int
    text: Masked


@define
class Transcript:
    """The lines so far. `seq` is the last event taken in."""

    vault: Vault = field(factory=Vault, repr=False)
    seq: int = 0
    _lines: list[Line] = field(factory=list, repr=False)
    _carries: dict[str, Carry] = field(factory=dict, repr=False)
    _open: dict[str, bool] = field(factory=dict)

    def add(self, seq: int, event: Event) -> None:
        """Take in the next event of the log; those before `self.seq` are known already."""
        if seq <= self.seq:
            return
        self.seq = seq
        if isinstance(event, TranscriptionStatus):
            self._open[event.communication] = event.status != ENDED
        elif isinstance(event, Utterance) and event.final:
            self._open.setdefault(event.communication, True)
            carry = self._carries.setdefault(f"{event.communication}:{event.speaker}", Carry())
            text = hide(disarm(" ".join(event.text.splitlines())), self.vault, carry=carry)
            self._lines.append(Line(seq, event.id, event.speaker, event.start_ms, event.end_ms, text))

    def lines(self, until: int | None = None) -> list[Line]:
        """The lines by time of speech (they arrive out of order); `until`: as they were at that place of the log."""
        chosen = (line for line in self._lines if until is None or line.seq <= until)
        return sorted(chosen, key=lambda line: (line.start_ms, line.seq))

    def find(self, event: str) -> Line | None:
        """The line of an event, by its id; None when it told of no finished words."""
        return next((line for line in reversed(self._lines) if line.event == event), None)

    @property
    def complete(self) -> bool:
        """Whether every transcription that began has ended."""
        return not any(self._open.values())


def disarm(text: str) -> str:
    """Text without the signs that delimit it in a prompt."""
    return text.translate(_HARMLESS)
