from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.partition import partition_of, wanted

names = st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, max_size=6)


def test_a_conversation_stays_in_its_partition_for_ever() -> None:
    assert [partition_of(name, 64) for name in ("talk", "9054f85d-70f4-531d-8b29-6051fff97da4", "é")] == [59, 45, 62]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 1000))
def test_a_partition_is_one_of_those_there_are(conversation: str, partitions: int) -> None:
    assert 0 <= partition_of(conversation, partitions) < partitions


def test_conversations_spread_over_all_partitions() -> None:
    spread = Counter(partition_of(f"talk-{n}", 64) for n in range(6400))
    assert len(spread) == 64
    assert max(spread.values()) < 150


@given(names)
def test_every_partition_has_one_owner(workers: set[str]) -> None:
    shares = [wanted(worker, workers, 32) for worker in workers]
    assert sorted(number for share in shares for number in share) == list(range(32))


@given(names)
def test_when_a_worker_leaves_only_its_share_moves(workers: set[str]) -> None:
    gone = min(workers)
    for worker in workers - {gone}:
        before, after = wanted(worker, workers, 32), wanted(worker, workers - {gone}, 32)
        assert before <= after
        assert after - before <= wanted(gone, workers, 32)


def test_shares_are_about_even() -> None:
    workers = {f"worker-{n}" for n in range(4)}
    assert all(8 <= len(wanted(worker, workers, 64)) <= 24 for worker in workers)


def test_a_worker_that_does_not_live_wants_nothing() -> None:
    assert wanted("a", {"b"}, 8) == set()
    assert wanted("a", set(), 8) == set()
