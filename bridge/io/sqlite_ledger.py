"""Tokens set aside and charged. The writer does one after the other, so a cap is never passed, however many ask."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.io.sqlite_file import SQL
from bridge.io.sqlite_turn import Turn
from bridge.ports import Reservation


def reserve(turn: Turn, asked: Sequence[Reservation]) -> list[bool]:
    """All caps or none. What the same key holds already does not stand in its own way."""
    return [_reserve(turn, one) for one in asked]


def _reserve(turn: Turn, wish: Reservation) -> bool:
    held = dict(turn.db.execute(SQL["reserved_under"], (wish.key,)).fetchall())
    for ledger, limit in wish.caps:
        if sum(_spent(turn, ledger)) - held.get(ledger, 0) + wish.amount > limit:
            return False
    _end(turn, wish.key, held, used=0)
    for ledger, _ in wish.caps:
        turn.db.execute(SQL["reserve"], (wish.key, ledger, wish.amount, wish.partition, turn.worker))
        turn.db.execute(SQL["set_aside"], (ledger, wish.amount, turn.now_ms))
    return True


def settle(turn: Turn, asked: Sequence[tuple[str, int]]) -> list[None]:
    """Charge (key, used). A worker ends its own reservations only: one that lost its partition was charged already."""
    for key, used in asked:
        held = dict(turn.db.execute(SQL["reserved_by"], (key, turn.worker)).fetchall())
        _end(turn, key, held, used)
    return [None] * len(asked)


def _end(turn: Turn, key: str, held: dict[str, int], used: int) -> None:
    for ledger, amount in held.items():
        turn.db.execute(SQL["give_back"], (used, amount, turn.now_ms, ledger))
    if held:
        turn.db.execute(SQL["drop_reservation"], (key,))


def _spent(turn: Turn, ledger: str) -> tuple[int, int]:
    return turn.db.execute(SQL["spent"], (ledger,)).fetchone() or (0, 0)
