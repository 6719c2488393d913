"""Handlers are users' code: whatever one does, it is its own delivery that fails, and never the process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from bridge_parts import open_stand, said, until

from bridge.context import Context
from bridge.core.events import Utterance
from bridge.errors import GatewayError, Later


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


def fail(make: Callable[[], BaseException]) -> None:
    raise make()


MISBEHAVIOUR = {
    "it wants to end the process": partial(sys.exit, 3),
    "its error has no words": partial(fail, SpeechlessError),
    "its error quotes half a character": partial(fail, partial(ValueError, "it said \ud800")),
    "what it called asks for an endless wait": partial(fail, partial(GatewayError, "gone", retry_after=float("inf"))),
    **{f"it wishes to run in {wish} s": partial(fail, partial(Later, wish, "soon"))
       for wish in (float("inf"), float("nan"), 1e300, -1.0)},
}  # fmt: skip


@pytest.mark.parametrize("misbehave", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
async def test_a_handler_that_misbehaves_is_parked_and_the_worker_goes_on(
    misbehave: Callable[[], None], tmp_path: Path
) -> None:
    async with open_stand(tmp_path) as stand:

        @stand.router.on(Utterance)
        async def on_said(_: Utterance, __: Context) -> None:
            misbehave()

        async with stand.working() as worker:
            await stand.tell(said("a"))
            await until(lambda: worker.done() or stand.notes.of("parked"))
            assert not worker.done()
        assert [note["attempts"] for note in stand.notes.of("parked")] == [1]
