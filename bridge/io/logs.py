"""Log records as JSON lines: one `action` a record, ids beside it, never text of a conversation."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from attrs import define, field
from pythonjsonlogger.orjson import OrjsonFormatter

from bridge.core.masking import Masked

NAME = "bridge"
# These libraries log addresses (which may be secrets) and message bodies at DEBUG and INFO.
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
TALKATIVE = ("websockets", "aiohttp", "aiohttp_sse_client", "asyncio")


def set_up_logs(level: str, stream: TextIO | None = None) -> None:
    """Send every record of the process to `stream` (stderr by default) as one JSON object a line."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OrjsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(NAME).setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


@define
class LogJournal:
    """Notes as log records; implements `ports.Journal`."""

    _log: logging.Logger = field(factory=lambda: logging.getLogger(NAME))

    def note(self, action: str, /, **fields: str | float | bool | Masked | None) -> None:
        """One record; a field named like one of logging's own gets an underscore."""
        level = LEVELS[str(fields.pop("level", "info"))]
        if not self._log.isEnabledFor(level):
            return
        shown = {_free(name): str(value) if isinstance(value, Masked) else value for name, value in fields.items()}
        self._log.log(level, action, extra={"action": action, **{k: v for k, v in shown.items() if v is not None}})


_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def _free(name: str) -> str:
    return f"{name}_" if name in _TAKEN else name
