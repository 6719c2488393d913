"""Whole recorded calls, when they lie beside the repository."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from bridge.core.codec import dump, load
from bridge.core.events import Unknown
from bridge.core.genesys import has_ended, parse
from bridge.core.recording import Line, interleave, read_line

RECORDINGS = sorted((Path(__file__).parents[2].parent / "shared" / "recordings").glob("**/*.jsonl.gz"))


def lines_of(path: Path) -> list[Line]:
    with gzip.open(path) as lines:
        return [line for raw in lines if (line := read_line(raw))]


@pytest.mark.slow  # decodes 16 MB of recorded envelopes
@pytest.mark.skipif(not RECORDINGS, reason="no shared recordings beside the repository")
def test_every_recorded_line_is_an_event_of_its_own_and_every_call_ends() -> None:
    kinds: Counter[str] = Counter()
    ids: set[str] = set()
    for path in RECORDINGS:
        events = [event for line in lines_of(path) for event in parse(line.envelope)]
        assert has_ended(events), path.name
        assert len({event.conversation for event in events}) == 1
        assert [load(*dump(event)) for event in events] == events
        kinds.update(type(event).__name__ for event in events)
        ids.update(event.id for event in events)
    assert Unknown.__name__ not in kinds
    assert len(ids) == kinds.total()
    assert kinds["Utterance"] > kinds["CustomerLeft"] == len(RECORDINGS)


@pytest.mark.skipif(len(RECORDINGS) < 2, reason="no shared recordings beside the repository")
def test_two_recordings_interleave_and_each_keeps_its_order() -> None:
    read = [lines_of(path) for path in RECORDINGS[:2]]
    merged = list(interleave(read))
    assert [[line for index, line in merged if index == wanted] for wanted in (0, 1)] == read
