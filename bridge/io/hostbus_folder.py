"""The folder in which the processes of one host find one another's sockets: their user's, and nobody else's."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from bridge.errors import ConfigError

NAME = re.compile(r"\d{1,10}-[0-9a-f]{8}\.sock", re.ASCII)
LONGEST = 107 - len("/4194304-01234567.sock")
"""Bytes of the folder's path: a socket's address has 108, with the zero at its end."""


def prepare_folder(folder: Path) -> Path:
    """The folder, made when there is none; for a path too long, one in the temporary directory that is named by its
    hash. Raises ConfigError when it is not ours alone.
    """
    folder = folder.resolve()
    if len(os.fsencode(folder)) > LONGEST:
        name = blake2b(os.fsencode(folder), digest_size=8).hexdigest()
        folder = Path(tempfile.gettempdir(), f"bridge-{os.geteuid()}-{name}.bus")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError([f"{folder}: belongs to another user; live text needs a folder of our own there"])
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError([f"{folder}: cannot hold the sockets for live text: {error}"]) from error
    return folder


@contextmanager
def bound(folder: Path) -> Iterator[tuple[str, socket.socket]]:
    """A datagram socket of a new name in the folder, until the block is left. Raises ConfigError."""
    name = f"{os.getpid()}-{secrets.token_hex(4)}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ears:
        try:
            ears.bind(str(folder / name))
        except OSError as error:
            raise ConfigError([f"{folder}: cannot hold the sockets for live text: {error}"]) from error
        try:
            yield name, ears
        finally:
            (folder / name).unlink(missing_ok=True)


def names(folder: Path) -> set[str]:
    """The sockets that lie in the folder; some may be of the dead."""
    found: list[str] = []
    with suppress(FileNotFoundError):
        found = os.listdir(folder)  # noqa: PTH208 - ten times faster than Path.iterdir, every second
    return {name for name in found if NAME.fullmatch(name)}
