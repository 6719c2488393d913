# ruff: noqa: ASYNC240 - nobody waits for the loop of a test
"""What only a file can be: not ours, too new, full, broken, too large."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bridge.errors import ConfigError, RejectedError
from bridge.io import sqlite_file
from bridge.io.sqlite import open_sqlite
from bridge.io.sqlite_file import SQL, connect_for_use, many
from bridge.ports import Arrival, Engine, Mode
from bridge.sim.clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "bridge.db"


def arrivals(count: int, size: int = 100, start: int = 0) -> list[Arrival]:
    """Events whose bodies do not shrink by compression, each for one handler."""
    chance = random.Random(start)
    wanted: tuple[tuple[str, Mode], ...] = (("notes", "ordered"),)
    return [
        Arrival(f"e{n}", f"talk-{n % 9}", "Utterance", chance.randbytes(size), n, wanted)
        for n in range(start, start + count)
    ]


def writing(engine: Engine) -> sqlite3.Connection:
    """The connection of the writer's thread; only to be touched while nothing is written."""
    db: sqlite3.Connection = engine._writer._watch._db  # type: ignore[attr-defined]
    return db


async def opened(path: Path, partitions: int = 8) -> None:
    async with open_sqlite(path, partitions=partitions, clock=FakeClock()):
        pass


async def test_a_missing_folder_is_made(path: Path) -> None:
    await opened(path)
    assert path.is_file()


async def test_only_its_owner_reads_the_file(path: Path) -> None:
    async with open_sqlite(path, clock=FakeClock()) as engine:
        await engine.append(arrivals(1))
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


async def test_an_old_sqlite_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigError, match=r"engine\.kind: .*3\.37 or newer"):
        await opened(path)


async def test_the_file_waits_for_the_disk_and_wastes_no_pages(path: Path) -> None:
    async with open_sqlite(path, clock=FakeClock()) as engine:
        facts = {
            name: writing(engine).execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "page_size", "auto_vacuum")
        }
        assert facts == {"journal_mode": "wal", "synchronous": 2, "page_size": 8192, "auto_vacuum": 2}
        assert engine.partitions == len(await engine.owners()) == 64


async def test_nothing_is_left_beside_the_file(path: Path) -> None:
    async with open_sqlite(path, clock=FakeClock()) as engine:
        await engine.beat()
        assert len(list(path.parent.glob("*.lock"))) == 2
    assert {left.name for left in path.parent.iterdir()} == {"bridge.db", "bridge.db.lock"}


async def test_a_file_of_a_newer_bridge_is_refused(path: Path) -> None:
    await opened(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigError, match=r"engine\.path: .*bridge\.db: .*newer bridge \(schema 2.*update"):
        await opened(path)


async def test_a_file_keeps_its_number_of_partitions(path: Path) -> None:
    await opened(path, 8)
    with pytest.raises(ConfigError, match=r"has 8 partitions.*engine\.partitions = 8"):
        await opened(path, 16)


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs(x)")
    with pytest.raises(ConfigError, match="another program's"):
        await opened(path)
    with closing(sqlite3.connect(path)) as db:
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_schema")] == ["theirs"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(parents=True), lambda path: path.parent.write_text("x")])
async def test_what_cannot_be_a_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(ConfigError, match=r"engine\.path: .* cannot be opened"):
        await opened(path)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(ConfigError, match="not a database"):
        await opened(path)


async def test_two_that_make_the_file_at_once_make_it_once(path: Path) -> None:
    await asyncio.gather(*(opened(path) for _ in range(4)))
    async with open_sqlite(path, partitions=8, clock=FakeClock()) as engine:
        assert len(await engine.owners()) == 8


async def test_a_bad_event_fails_alone(path: Path) -> None:
    async with open_sqlite(path, clock=FakeClock()) as engine:
        bad = Arrival("bad", "talk", "Utterance", b"", 2**70)
        told = await asyncio.gather(
            engine.append(arrivals(3)),
            engine.append([bad]),
            engine.append(arrivals(3, start=3)),
            return_exceptions=True,
        )
        assert isinstance(told[1], OverflowError)
        assert (await engine.counts()).events == 6


async def test_a_full_disk_refuses_events_and_recovers(path: Path) -> None:
    faults: list[BaseException] = []
    async with open_sqlite(path, clock=FakeClock(), on_fault=faults.append) as engine:
        await engine.append(arrivals(1))
        (pages,) = writing(engine).execute("PRAGMA page_count").fetchone()
        writing(engine).execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RejectedError, match="cannot write") as refused:
            await engine.append(arrivals(50, 4000, start=100))
        assert (refused.value.status, refused.value.code) == (503, "storage")
        assert refused.value.retry_after
        assert faults == []
        assert (await engine.counts()).events == 1
        writing(engine).execute(f"PRAGMA max_page_count = {pages + 1000}")
        await engine.append(arrivals(50, 4000, start=100))
        assert (await engine.counts()).events == 51


async def test_an_engine_that_cannot_settle_is_a_fault(path: Path) -> None:
    faults: list[BaseException] = []
    async with open_sqlite(path, clock=FakeClock(), on_fault=faults.append) as engine:
        writing(engine).execute("DROP TABLE reservation")
        with pytest.raises(sqlite3.OperationalError):
            await engine.settle("a", 1)
    assert [str(fault) for fault in faults] == ["no such table: reservation"]


async def test_a_broken_file_is_a_fault(path: Path) -> None:
    faults: list[BaseException] = []
    async with open_sqlite(path, clock=FakeClock()) as engine:
        await engine.append(arrivals(200, 2000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"?" * (len(whole) - len(whole) // 2))
    async with open_sqlite(path, clock=FakeClock(), on_fault=faults.append) as engine:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            await engine.events(limit=200)
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            await engine.append(arrivals(200, 2000, start=1000))
    assert len(faults) >= 2
    assert {type(fault) for fault in faults} == {sqlite3.DatabaseError}


async def test_a_writer_that_ends_leaves_nobody_waiting(path: Path) -> None:
    faults: list[BaseException] = []
    async with open_sqlite(path, clock=FakeClock(), on_fault=faults.append) as engine:
        tail = engine.tail(0, (await engine.acquire([0]))[0])
        waiter = asyncio.ensure_future(anext(tail, None))
        with pytest.raises(RuntimeError, match="closed"):
            await engine.release([1])  # type: ignore[arg-type]  # stands for a mistake of ours
        with pytest.raises(RuntimeError, match="closed"):
            await engine.append(arrivals(2))
    assert [type(fault) for fault in faults] == [AttributeError]
    async with asyncio.timeout(1):
        assert await waiter is None


@pytest.mark.slow  # writes a few megabytes, several times
async def test_the_file_stops_growing_and_gives_the_disk_back(path: Path) -> None:
    clock = FakeClock()
    sizes = []
    async with open_sqlite(path, clock=clock) as engine:
        owned = await engine.acquire(range(64))
        for day in range(6):
            await engine.append(arrivals(1000, 2000, start=day * 1000))
            waiting = await engine.deliveries(limit=10_000, state="waiting")
            await asyncio.gather(*(engine.finish(one, owned[one.partition]) for one in waiting))
            await clock.advance(86_400)
            await engine.forget(1.5 * 86_400)  # type: ignore[attr-defined]  # SQLite's own
            sizes.append(writing(engine).execute("PRAGMA page_count").fetchone()[0])
        assert (await engine.counts()).events == 1000
        assert max(sizes) <= sizes[1] * 1.1
        await clock.advance(2 * 86_400)
        await engine.forget(1.5 * 86_400)  # type: ignore[attr-defined]
        while (await engine.counts()).events or writing(engine).execute("PRAGMA freelist_count").fetchone()[0] > 256:
            await engine.forget(1.5 * 86_400)  # type: ignore[attr-defined]
    assert path.stat().st_size < 3_000_000


async def test_statements_run_in_chunks_of_powers_of_two(path: Path) -> None:
    await opened(path)
    with closing(connect_for_use(path)) as db:
        said: list[str] = []
        db.set_trace_callback(said.append)
        rows = [(n, "h", 0, "ordered") for n in range(300)]
        list(many(db, "append_deliveries", rows))
        assert [text.count("'ordered'") for text in said if "INSERT" in text] == [128, 128, 32, 8, 4]


def test_every_statement_has_a_name_of_its_own() -> None:
    text = Path(sqlite_file.__file__).with_name("sqlite.sql").read_text(encoding="utf-8")
    assert text.count("\n-- name: ") == len(SQL)
