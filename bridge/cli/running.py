"""How every command runs its coroutine, and how it ends: one clear line for a user, never a traceback of ours."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click
import uvloop

from bridge.errors import BridgeError, ConfigError
from bridge.loading import load_settings
from bridge.settings import Settings

T = TypeVar("T")
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def settings_or_exit(*sections: str) -> Settings:
    """The settings of this machine, or every problem with them and exit code 2; of these sections only, if any."""
    try:
        return load_settings(sections=sections)
    except ConfigError as error:
        _refuse(error)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end. Ours and the system's errors become a line and an exit code."""
    try:
        return uvloop.run(work)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        error = _first(group)
        if isinstance(error, (BridgeError, OSError)):
            _end(error)
        raise
    except (BridgeError, OSError) as error:
        _end(error)


async def until_told_to_stop() -> None:
    """Until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


def _end(error: BaseException) -> NoReturn:
    if isinstance(error, ConfigError):
        _refuse(error)
    click.echo(f"bridge: {error}", err=True)
    sys.exit(FAILED)


def _refuse(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(USAGE)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
