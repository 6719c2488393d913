"""`bridge record`: write down what Genesys Cloud tells, for replays."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click
from attrs import define, field

from bridge.app import connect_genesys
from bridge.cli.running import OutFile, run, settings_or_exit, until_told_to_stop
from bridge.core.genesys import parse
from bridge.core.masking import Vault
from bridge.core.masking.redaction import redact
from bridge.core.recording import write_line
from bridge.errors import ConfigError
from bridge.io.clock import MachineClock
from bridge.io.logs import LogJournal, set_up_logs
from bridge.io.notifications import listen
from bridge.lanes import first_of
from bridge.ports import Accepted
from bridge.settings import Settings

CONVERSATIONS = 10_000


@click.command()
@click.option("--out", required=True, type=OutFile(), help="Lines are added here.")
@click.option("--unmasked", is_flag=True, help="Write what was said as it was said. Without it, texts are masked.")
def record(out: Path, *, unmasked: bool) -> None:
    """Listen to the topics of [genesys] follow and write every envelope as one line, until told to stop."""
    settings = settings_or_exit("genesys", "logs")
    set_up_logs(settings.logs.level)
    run(_record(settings, out, masked=not unmasked))


async def _record(settings: Settings, out: Path, *, masked: bool) -> None:
    if not (settings.genesys.client_id and settings.genesys.follow):
        raise ConfigError(['genesys: client_id and follow are needed to record, such as follow = ["queue:ID"]'])
    clock = MachineClock()
    with out.open("ab") as file:
        async with connect_genesys(settings.genesys) as genesys:
            recorder = Recorder(file, clock, masked)
            listening = asyncio.create_task(
                listen(
                    genesys,
                    recorder,
                    settings.genesys.follow,
                    clock=clock,
                    random=random.random,
                    on_note=LogJournal().note,
                )
            )
            await first_of(until_told_to_stop(), listening)
    click.echo(f"{recorder.lines} lines in {out}")


@define
class Recorder:
    """Implements `ports.Accept`: what comes is written, and nothing else is done with it."""

    file: BinaryIO
    clock: MachineClock
    masked: bool
    lines: int = 0
    _vaults: OrderedDict[str, Vault] = field(init=False, factory=OrderedDict)

    async def __call__(self, envelope: Mapping[str, Any]) -> Accepted:
        """Write one line. Raises PayloadError for what is no event."""
        events = parse(envelope)
        told = redact(envelope, self._vault(events[0].conversation)) if self.masked and events else envelope
        self.file.write(write_line(told, self.clock.now_ms()))
        self.file.flush()
        self.lines += 1
        return Accepted(events[0].id if events else "", duplicate=False)

    def _vault(self, conversation: str) -> Vault:
        """Placeholders are stable within a conversation; of very many conversations the oldest is forgotten."""
        vault = self._vaults.setdefault(conversation, Vault())
        if len(self._vaults) > CONVERSATIONS:
            self._vaults.popitem(last=False)
        return vault
