"""The command line: parses, calls, prints. One file a group of commands."""

from __future__ import annotations

import sys
from typing import Any

import click

from bridge.cli.ask import ask
from bridge.cli.check import check, routes
from bridge.cli.demo import demo
from bridge.cli.filters import mask
from bridge.cli.operate import callbacks, dead, deliveries, events
from bridge.cli.record import record
from bridge.cli.replay import replay
from bridge.cli.running import INTERRUPTED
from bridge.cli.serve import link, serve
from bridge.cli.sim import sim
from bridge.cli.tokens import tokens

COMMANDS = (
    demo,
    serve,
    replay,
    record,
    sim,
    check,
    routes,
    link,
    ask,
    mask,
    tokens,
    events,
    deliveries,
    callbacks,
    dead,
)


class Commands(click.Group):
    """Ctrl-C ends any command with 130, as it ends any program; without this click says 1, which is "failed" here."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bridge")
def bridge() -> None:
    """Genesys Cloud events in, live agent-assist and CRM callbacks out: stored first, never lost, never doubled."""


for command in COMMANDS:
    bridge.add_command(command)


def main() -> None:
    """The console script. Users' own handlers are found in the folder where it is called."""
    sys.path.insert(0, "")
    bridge()
