"""A tail between what it read from the file and what it is told: the meetings that a real engine rarely shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.io.sqlite_news import Feed, Page, PageReader


def pages_of(file: list[int], meanwhile: Callable[[], None] = lambda: None) -> PageReader[int]:
    """Reads pages of three from `file`; `meanwhile` happens between the look at the file and its answer."""

    async def read(_: int, after: int, __: int) -> Page[int]:
        rows = [place for place in file if place > after][:3]
        upto = max(file, default=0)
        meanwhile()
        await asyncio.sleep(0)
        return Page([(place, place) for place in rows], upto, 1, len(rows) == 3)

    return read


async def some(feed: Feed[int], count: int) -> list[int]:
    async with asyncio.timeout(1):
        return [await anext(feed) for _ in range(count)]


async def test_a_row_that_is_in_the_page_and_told_later_comes_once() -> None:
    feed = Feed(0, 1, pages_of([1, 2]))
    assert await some(feed, 1) == [1]
    feed.push(2, 2)
    feed.push(3, 3)
    assert await some(feed, 2) == [2, 3]


async def test_a_row_that_is_told_while_a_page_is_read_is_not_missed() -> None:
    file = [1]

    def commit() -> None:
        if len(file) == 1:
            file.append(2)
            feed.push(2, 2)

    feed = Feed(0, 1, pages_of(file, commit))
    assert await some(feed, 2) == [1, 2]


async def test_settled_rows_leave_gaps_that_are_no_rows() -> None:
    feed = Feed(0, 1, pages_of([2, 5, 6, 9, 11]))
    assert await some(feed, 5) == [2, 5, 6, 9, 11]
    feed.push(20, 20)
    assert await some(feed, 1) == [20]


async def test_what_does_not_fit_in_memory_is_read_when_its_time_comes() -> None:
    file: list[int] = []
    feed = Feed(0, 1, pages_of(file))
    first = asyncio.ensure_future(anext(feed))
    for _ in range(3):
        await asyncio.sleep(0)
    for place in range(1, 2001):
        file.append(place)
        feed.push(place, place)
    assert len(feed._ready) < 1100
    assert [await first, *await some(feed, 1999)] == list(range(1, 2001))


async def test_a_page_under_another_epoch_ends_the_tail() -> None:
    feed = Feed(0, 2, pages_of([1]))
    assert await anext(feed, None) is None
    assert await anext(feed, None) is None
