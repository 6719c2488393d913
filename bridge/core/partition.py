"""Which partition a conversation lives in, and which worker should own it. Nobody leads: all compute the same."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from zlib import crc32


def partition_of(conversation: str, partitions: int) -> int:
    """The partition of a conversation, 0 <= n < partitions; the same on every machine and in every version."""
    return crc32(conversation.encode()) % partitions


def wanted(worker: str, workers: Collection[str], partitions: int) -> set[int]:
    """The partitions that `worker` should own when `workers` live: each goes to the worker with the highest hash.

    When a worker comes or goes, only its own share moves (rendezvous hashing).
    """
    return {number for number in range(partitions) if _favourite(number, workers) == worker}


def _favourite(partition: int, workers: Collection[str]) -> str | None:
    return max(workers, key=lambda worker: (_weight(worker, partition), worker), default=None)


def _weight(worker: str, partition: int) -> bytes:
    return blake2b(f"{partition}:{worker}".encode(), digest_size=8).digest()
