"""An envelope with its texts masked, for recordings that leave the house."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bridge.core.masking import Vault, hide

_WORD_BY_WORD: Final = frozenset({"words", "decoratedWords"})
_NO_TEXT: Final = re.compile(
    r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"  # an id
    r"|(?=.*[a-f])[0-9a-f]{32}"  # an id of a digital message
    r"|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)?"  # a time
    r"|[A-Za-z_][A-Za-z_-]*"  # a word, such as a state or a purpose
)
_NAMES: Final = frozenset({"topicName", "version", "receivedAt", "dialect", "detail-type", "source", "time"})


def redact(envelope: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """A copy in which every text is masked, keys too; numbers stay, since they are times. Single words of a
    transcription go: masked one by one they would show what the sentence hides.
    """
    return {
        _masked(name, vault): value if name in _NAMES else _redact(name, value, vault)
        for name, value in envelope.items()
    }


def _redact(name: str, value: Any, vault: Vault) -> Any:
    if name in _WORD_BY_WORD:
        return []
    if isinstance(value, str):
        return _masked(value, vault)
    if isinstance(value, Mapping):
        return redact(value, vault)
    if isinstance(value, list):
        return [_redact("", inner, vault) for inner in value]
    return value


def _masked(text: str, vault: Vault) -> str:
    return text if _NO_TEXT.fullmatch(text) else hide(text, vault).text
