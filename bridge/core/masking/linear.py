"""RE2 behind the types of `re`: linear time whatever the text. No look-around, no back-references."""

from __future__ import annotations

import re
from typing import cast

import re2


def linear(pattern: str) -> re.Pattern[str]:
    """Compile with RE2. Offsets of matches are in characters, as with `re`."""
    return cast("re.Pattern[str]", re2.compile(pattern))
