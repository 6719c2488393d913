"""How many tokens a text is, by the model's own vocabulary, also while the text still comes.

A text is first divided into pre-tokens (a word with the space before it, up to three digits, a run of signs), and each
of them is merged into tokens by itself. So the counts of two texts add up when a pre-token's border lies between them,
and not otherwise: "can" + "'t", or one long word come in pieces. `StreamCounter` settles what lies before the last
certain border and counts only the rest again.

A model whose vocabulary is not public gets an estimate that errs high; `counted_by` says which it was.
"""

from __future__ import annotations

import re
import string
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from typing import Final, Literal, Protocol

from attrs import define, field, frozen
from rs_bpe.bpe import openai  # type: ignore[import-not-found]  # a compiled module without stubs

Counted = Literal["tokenizer", "estimate"]

PER_MESSAGE: Final = 3
"""Tokens around a chat message beside its role and content (OpenAI cookbook, "How to count tokens with tiktoken")."""

PER_REPLY: Final = 3
"""Tokens that open the model's reply (ditto)."""

LONGEST_TAIL: Final = 1024
"""Characters of a text without a certain border that are counted again at each piece: bounds the work per piece."""

_STEP: Final = 64


@frozen
class Count:
    """So many tokens, and how we know."""

    tokens: int
    counted_by: Counted


class Vocabulary(ABC):
    """What a model's texts are counted by. `weigh` and `settle` are in units, of which `units` are a token."""

    name: str
    counted_by: Counted = "tokenizer"
    units: int = 1

    @abstractmethod
    def weigh(self, text: str) -> int:
        """What `text` as a whole costs, in units."""

    @abstractmethod
    def settle(self, text: str) -> tuple[int, int]:
        """How many characters of `text` can be counted for good, whatever follows them, and what these cost."""

    def count(self, text: str) -> int:
        """Tokens of `text`. Takes any string: special tokens are plain text, a lone surrogate counts as U+FFFD."""
        return self.tokens(self.weigh(text))

    def tokens(self, weight: int) -> int:
        """Units as tokens, rounded up."""
        return -(-weight // self.units)

    def measure(self, text: str) -> Count:
        """The tokens of `text`, and how we know."""
        return Count(self.count(text), self.counted_by)


class _Ranks(Protocol):
    """What we use of rs-bpe. It takes strings that UTF-8 can hold, and raises UnicodeEncodeError for others."""

    def count(self, text: str, /) -> int: ...
    def encode(self, text: str, /) -> list[int]: ...
    def decode(self, ids: list[int], /) -> str | None: ...


class Tokenizer(Vocabulary):
    """A public vocabulary, exact: the same numbers as tiktoken's `encode_ordinary`."""

    def __init__(self, name: str, ranks: _Ranks) -> None:
        self.name, self._ranks = name, ranks

    def weigh(self, text: str) -> int:
        """Tokens of `text`."""
        try:
            return self._ranks.count(text)
        except UnicodeEncodeError:
            return self._ranks.count(_well_formed(text))

    def settle(self, text: str) -> tuple[int, int]:
        """Up to the last certain border; in a long text that has none, up to a token's border near its middle."""
        if border := _LAST_BORDER.match(text):
            return border.end(), self.weigh(border[0])
        return self._seam(text) if len(text) > LONGEST_TAIL else (0, 0)

    def _seam(self, text: str) -> tuple[int, int]:
        """A border between two tokens that the rest, taken by itself, has too.

        Neighbouring tokens of an encoding stay neighbours as long as the later one stays the same. Text to come could
        change it only over the hundreds of characters between: possible in theory, but no run that was tried does so.
        """
        text = _well_formed(text)  # as long as before: a counter joins pairs beforehand
        ids = self._ranks.encode(text)
        middle = len(ids) // 2
        for at in range(middle, min(middle + 8, len(ids))):
            head = self._ranks.decode(ids[:at])  # None: the border is inside a character
            if head and _starts_anew(text, len(head)) and self._ranks.encode(text[len(head) :]) == ids[at:]:
                return len(head), at
        return 0, 0


class Estimate(Vocabulary):
    """For a vocabulary that nobody knows: a rule that errs high.

    A token is 3.5 letters or spaces of ASCII, or one digit or sign of ASCII, or 1.75 bytes of anything else.
    """

    name = "estimate"
    counted_by = "estimate"
    units = 7

    def weigh(self, text: str) -> int:
        """Two units a letter or space, seven a digit or sign, four any other byte."""
        raw = text.encode("utf-8", "surrogatepass")
        rest = raw.translate(None, _LETTERS)
        signs = len(rest) if text.isascii() else len(rest) - len(rest.translate(None, _ASCII))
        return 2 * (len(raw) - len(rest)) + 7 * signs + 4 * (len(rest) - signs)

    def settle(self, text: str) -> tuple[int, int]:
        """All of it: the weights of characters add up."""
        return len(text), self.weigh(text)


_ASCII = bytes(range(128))
_LETTERS = (string.ascii_letters + " ").encode()

_O200K = re.compile(r"(chat)?gpt-(4o|4\.1|4\.5|5|oss)|o[134](-|$)")
_CL100K = re.compile(r"gpt-(4|3\.5|35)(-|:|$)|text-embedding-(3|ada-002)")


def vocabulary_of(model: str) -> Vocabulary:
    """The vocabulary of a model by its name, in which a gateway's `provider/` and a fine-tuning's `ft:` may lead.

    Source of the names: OpenAI's tiktoken, `model.py`. Any other model gets the estimate.
    """
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    if _O200K.match(name):
        return vocabulary("o200k")
    return vocabulary("cl100k" if _CL100K.match(name) else "estimate")


@cache
def vocabulary(name: Literal["o200k", "cl100k", "estimate"]) -> Vocabulary:
    """A vocabulary by its own name. The first call of each of the two public ones takes about 60 ms."""
    if name == "estimate":
        return Estimate()
    return Tokenizer(name, openai.o200k_base() if name == "o200k" else openai.cl100k_base())


def message_tokens(vocabulary: Vocabulary, role_contents: Iterable[tuple[str, str]]) -> int:
    """Tokens of a chat prompt of (role, content) messages, with what the chat format puts around them."""
    return PER_REPLY + sum(
        PER_MESSAGE + vocabulary.count(role) + vocabulary.count(content) for role, content in role_contents
    )


def most_tokens(text: str) -> int:
    """No vocabulary makes more of the text: a token has at least one byte."""
    return len(text) if text.isascii() else 4 * len(text)


@define
class StreamCounter:
    """Counts a text that comes in pieces: after each piece, exactly what the whole text so far costs.

    A run of more than LONGEST_TAIL characters without a border (a model that repeats one letter, a page of Chinese
    without a full stop) is settled inside the run, at a token's border. Only a run of nothing but contractions, or of
    digits that are not of ASCII, is kept and counted whole.
    """

    vocabulary: Vocabulary
    _settled: int = field(default=0, init=False)
    _tail: str = field(default="", init=False)
    _open: int = field(default=0, init=False)

    @property
    def tokens(self) -> int:
        """Tokens of the text so far."""
        return self.vocabulary.tokens(self._settled + self._open)

    @property
    def most(self) -> int:
        """The most tokens that the text so far can turn out to be, however it goes on, without what follows."""
        return self.vocabulary.tokens(self._settled) + most_tokens(self._tail)

    def feed(self, piece: str) -> int:
        """Take the next piece; get the tokens of the text so far."""
        tail = self._tail + piece
        if len(tail) > LONGEST_TAIL:
            end = len(tail) - ("\ud800" <= tail[-1] <= "\udbff")  # half of a pair waits for the other
            tail = _well_formed(tail[:end]) + tail[end:]
        end, weight = self.vocabulary.settle(tail)
        if end:
            self._settled += weight
            tail = tail[end:]
        self._tail = tail
        self._open = self.vocabulary.weigh(tail)
        return self.tokens

    def cut(self, piece: str, limit: int) -> str:
        """The longest beginning of `piece` with which the text so far stays within `limit` tokens.

        It ends at a whole character as people see it: not before an accent, within an emoji or a surrogate pair.
        A long piece is searched in steps of 64 characters. Takes nothing in: feed what you keep.
        """
        fits, start = self.fork(), 0
        while start < len(piece):
            longer = fits.fork()
            if longer.feed(piece[start : start + _STEP]) > limit:
                return piece[: fits._fitting(piece, start, limit)]  # noqa: SLF001 - a fork of ourselves
            fits, start = longer, start + _STEP
        return piece

    def _fitting(self, piece: str, start: int, limit: int) -> int:
        """Where to cut within the step that goes beyond the limit; what comes before `start` is counted already."""
        for end in range(min(start + _STEP, len(piece)), start, -1):
            if not _parts_character(piece, end) and self.fork().feed(piece[start:end]) <= limit:
                return end
        while start and _parts_character(piece, start):
            start -= 1
        return start

    def fork(self) -> StreamCounter:
        """A counter of the same text so far, which goes on by itself."""
        fork = StreamCounter(self.vocabulary)
        fork._settled, fork._tail, fork._open = self._settled, self._tail, self._open
        return fork


# The last place that is a pre-token's border in o200k and cl100k whatever follows. Before a space that follows no white
# space: no pre-token goes on over it. Before a sign that follows a letter or digit: ditto, except the apostrophe, for
# o200k has "can't" as one pre-token. Signs are those of ASCII, and the commas and stops of Chinese and Japanese.
_LAST_BORDER = re.compile(
    r".*(?:\S(?= )|[^\W_](?=[!-&(-/:-@\[-`{-~\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]))", re.DOTALL
)


def _starts_anew(text: str, at: int) -> bool:
    """Whether what follows is divided the same whatever precedes: not so in contractions and digits in threes.

    Three digits of ASCII are always one token, so these need no care.
    """
    after = text[at]
    return "'" not in text[max(at - 3, 0) : at + 1] and (after.isascii() or unicodedata.category(after)[0] != "N")


def _well_formed(text: str) -> str:
    """Surrogate pairs joined and lone ones as U+FFFD, as tiktoken does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parts_character(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` would go through what is seen as one character."""
    if at >= len(text):
        return False
    after = text[at]
    return (
        unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # a skin tone
        or "\udc00" <= after <= "\udfff"  # the second half of a surrogate pair
        or "\u200d" in text[at - 1 : at + 1]  # joins two emoji
    )
