"""The rules of the four token budgets: what fits the window, where an answer is cut, what a call sets aside.

The ledgers of conversations and of tenants live in the engine, which decides for one call after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Literal, Protocol, TypeVar

from attrs import define, field, frozen

from bridge.core.tokens import LONGEST_TAIL, PER_REPLY, StreamCounter, Vocabulary, message_tokens, most_tokens
from bridge.errors import BudgetError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Turn(Protocol):
    """A message of a prompt: anything with a role (system, user, assistant) and a content that `str` makes text of."""

    @property
    def role(self) -> str:
        """Who speaks."""
        ...

    @property
    def content(self) -> object:
        """What is said."""
        ...


T = TypeVar("T", bound=Turn)


@frozen
class Window:
    """What a model can hold at once, in tokens: prompt and answer together, and the most of an answer."""

    context: int
    output: int

    @property
    def prompt(self) -> int:
        """What the answer leaves for the prompt."""
        return self.context - self.output


@frozen
class Fitted(Generic[T]):
    """The turns that fit, in their order, how many do not, and what the prompt costs."""

    turns: tuple[T, ...]
    dropped: int
    prompt_tokens: int


def fit(
    turns: Sequence[T], window: Window, vocabulary: Vocabulary, *, keep: Literal["newest", "earliest"] = "newest"
) -> Fitted[T]:
    """Drop whole turns from the other end than `keep` until the prompt fits the window less the answer.

    System turns and the last user turn always stay. Raises BudgetError when these alone do not fit.
    """
    costs = [message_tokens(vocabulary, [(turn.role, str(turn.content))]) - PER_REPLY for turn in turns]
    total = PER_REPLY + sum(costs)
    kept = set(range(len(turns)))
    for at in _droppable(turns, keep):
        if total <= window.prompt:
            break
        kept.discard(at)
        total -= costs[at]
    if total > window.prompt:
        raise BudgetError(_misfit(total, window))
    return Fitted(tuple(turns[at] for at in sorted(kept)), len(turns) - len(kept), total)


def _droppable(turns: Sequence[Turn], keep: Literal["newest", "earliest"]) -> list[int]:
    """Places of the turns that may go, the first to go first."""
    asked = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=None)
    places = [at for at, turn in enumerate(turns) if turn.role != "system" and at != asked]
    return places if keep == "newest" else places[::-1]


def _misfit(needed: int, window: Window) -> str:
    return (
        f"the prompt is {needed - window.prompt} tokens too long: instructions and question alone need {needed}, and a "
        f"window of {window.context} less {window.output} for the answer leaves {window.prompt}"
    )


@define
class OutputMeter:
    """Lets an answer through, piece by piece, up to `limit` tokens.

    A token has at least one byte, so what cannot reach the limit, were every byte a token, is not counted yet: an
    answer is counted in few long pieces, which become short where the limit is near. Its cut is exact all the same.
    """

    vocabulary: Vocabulary
    limit: int
    cut: bool = field(default=False, init=False)
    """Whether text was held back; nothing passes from then on."""

    _counter: StreamCounter = field(init=False)
    _uncounted: list[str] = field(init=False, factory=list, repr=False)
    _room: int = field(init=False)
    """Bytes that may pass before the next count."""

    def __attrs_post_init__(self) -> None:
        self._counter = StreamCounter(self.vocabulary)
        self._look_ahead()

    @property
    def tokens(self) -> int:
        """Tokens of what has passed."""
        self._count()
        return self._counter.tokens

    def feed(self, piece: str) -> tuple[str, bool]:
        """(what of the piece is within the limit, whether the answer is cut here or was before)."""
        if self.cut:
            return "", True
        self._room -= most_tokens(piece)
        if self._room >= 0:
            self._uncounted.append(piece)
            return piece, False
        self._count()
        with_it = self._counter.fork()
        if with_it.feed(piece) <= self.limit:
            self._counter = with_it
            self._look_ahead()
            return piece, False
        self.cut = True
        kept = self._counter.cut(piece, self.limit)
        self._counter.feed(kept)
        return kept, True

    def _count(self) -> None:
        if self._uncounted:
            self._counter.feed("".join(self._uncounted))
            self._uncounted.clear()
            self._look_ahead()

    def _look_ahead(self) -> None:
        self._room = min(self.limit - self._counter.most, LONGEST_TAIL)  # no count shall hold others up


def reservation(prompt_tokens: int, max_output: int) -> int:
    """What a call is reserved before it starts: the most that it can cost."""
    return prompt_tokens + max_output


def day_of(at_ms: int) -> str:
    """The day of a moment (milliseconds since 1970) as 2026-01-31, in UTC: when a tenant's budget begins anew."""
    return (EPOCH + timedelta(milliseconds=at_ms)).date().isoformat()
