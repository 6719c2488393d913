"""The database file: opening it as ours, its statements, and how many rows go through one of them."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError

VERSION = 1
_OLDEST_SQLITE = (3, 37)  # STRICT; RETURNING and UPDATE FROM are older
_APPLICATION = 0x42524447  # "BRDG", in the file's header: nobody's other database is taken for ours
_SECTION = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_ROW = re.compile(r"\((?:\?(?:, )?)+\)")
_CHUNK = 128


def _read_sections(text: str) -> dict[str, str]:
    _, *parts = _SECTION.split(text)
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


SQL = _read_sections(Path(__file__).with_name("sqlite.sql").read_text(encoding="utf-8"))


def prepare_file(path: Path, partitions: int) -> Path:
    """Create the file, or see that it is one of ours; its full path. Raises ConfigError that says why it is not."""
    path = path.absolute()
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        raise ConfigError([f"engine.kind: Python brings SQLite {sqlite3.sqlite_version}; {oldest} or newer is needed"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _touch(path)
            with closing(connect(path)) as db:
                problem = _adopt(db, partitions)
    except (OSError, sqlite3.Error) as error:
        problem = f"cannot be opened: {error}"
    if problem:
        raise ConfigError([f"engine.path: {path}: {problem}"])
    return path


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit, with our views. Any thread may use it, one at a time."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    db.executescript(
        # The first two only matter before the first table: a 2 KB body wastes half of a 4 KB page.
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA busy_timeout = 10000;"
        "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768;"
        "PRAGMA journal_size_limit = 16777216;"
    )
    return db


def connect_for_use(path: Path) -> sqlite3.Connection:
    """As `connect`, with the views that need the tables."""
    db = connect(path)
    db.executescript(SQL["views"])
    return db


def digest(text: str) -> bytes:
    """16 bytes that stand for an id or key."""
    return blake2b(text.encode(), digest_size=16).digest()


def many(db: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[sqlite3.Cursor]:
    """Run a statement for all rows, in chunks of powers of two so that few texts are ever prepared."""
    start = 0
    while start < len(rows):
        count = min(_CHUNK, 1 << ((len(rows) - start).bit_length() - 1))
        yield db.execute(_widened(name, count), tuple(chain.from_iterable(rows[start : start + count])))
        start += count


def returned(db: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """As `many`, with everything the statement returns."""
    return [row for cursor in many(db, name, rows) for row in cursor.fetchall()]


@lru_cache
def _widened(name: str, count: int) -> str:
    return _ROW.sub(lambda row: ", ".join([row.group()] * count), SQL[name], count=1)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Processes that create one file at the same time take turns: SQLite does not wait where the mode changes."""
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _touch(path: Path) -> None:
    """What customers said is in it: for the owner's eyes only. SQLite gives its other files the same mode.

    Only where there is no file yet: to close one that is in use would drop the locks of this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _adopt(db: sqlite3.Connection, partitions: int) -> str:
    """Make the tables in an empty file. What speaks against the file, or nothing."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if not application and not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        return _create(db, partitions)
    if application != _APPLICATION:
        return "is another program's database; name a file that does not exist yet"
    if version > VERSION:
        return f"was written by a newer bridge (schema {version}, this one knows up to {VERSION}); update the bridge"
    (found,) = db.execute("SELECT value FROM meta WHERE name = 'partitions'").fetchone()
    if found != partitions:
        return f"has {found} partitions for as long as it lives; set engine.partitions = {found} (not {partitions})"
    return ""


def _create(db: sqlite3.Connection, partitions: int) -> str:
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        return f"is on a file system without shared memory (journal mode {mode}); name a file on a local disk"
    db.executescript(SQL["schema"].format(partitions=int(partitions), application=_APPLICATION, version=VERSION))
    return ""
