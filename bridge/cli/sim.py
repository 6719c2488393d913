"""`bridge sim`: a Genesys Cloud, a gateway and a CRM to try a bridge against."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from bridge.cli.running import ports_free, run, until_told_to_stop
from bridge.io.clock import MachineClock
from bridge.io.logs import set_up_logs
from bridge.replay import read_recording
from bridge.settings import Secret
from bridge.sim.crm import SimCrm, make_crm
from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.genesys import ORG, Org, SimGenesys, make_genesys, play, post_webhooks
from bridge.sim.serving import open_app

PORTS = (8090, 8091, 8092)
VARIABLE = "SIM_SECRET"


@click.command()
@click.option(
    "--play",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recording to play once a bridge listens; may be repeated.",
)
@click.option("--speed", default=1.0, show_default=True, help="So many times as fast as recorded.")
@click.option("--webhooks", "url", default="", metavar="URL", help="Also post the recording there as signed webhooks.")
@click.option("--ports", nargs=3, type=int, default=PORTS, show_default=True, help="Theirs, in that order; 0: any.")
@click.option("--once", is_flag=True, help="End when everything has been played.")
def sim(
    files: tuple[Path, ...],
    speed: float,
    url: str,
    ports: tuple[int, int, int],
    *,
    once: bool,
) -> None:
    """Serve a simulated Genesys Cloud, gateway and CRM on this machine.

    config/sim.toml points a bridge at them. The secret of webhooks and callbacks is read from SIM_SECRET on both sides.
    """
    secret = os.environ.get(VARIABLE, "")
    if not secret.startswith("whsec_"):
        raise click.UsageError(f"set {VARIABLE} to whsec_ and some base64, here and for the bridge")
    set_up_logs("error")
    run(_sim(_Playing(files, speed, url, Secret(secret, origin=f"env:{VARIABLE}")), ports, once=once))


@frozen
class _Playing:
    """What is played, how fast, and where it is posted too."""

    files: tuple[Path, ...]
    speed: float
    url: str
    secret: Secret


async def _sim(playing: _Playing, ports: tuple[int, int, int], *, once: bool) -> None:
    genesys, crm = make_genesys(SimGenesys(), clock=MachineClock()), SimCrm(secrets=[playing.secret.show()])
    apps = (genesys, make_gateway(SimGateway(first_token=0.35, tokens_per_second=45.0)), make_crm(crm))
    async with AsyncExitStack() as stack:
        with ports_free("--ports"):
            for name, app, port in zip(("Genesys Cloud", "gateway", "CRM"), apps, ports, strict=True):
                click.echo(f"{name}: {await stack.enter_async_context(open_app(app, port=port))}")
        if playing.files:
            await _play(genesys[ORG], playing)
        if not once:
            await until_told_to_stop()
    click.echo(
        f"the CRM took {len(crm.accepted)} callbacks, {crm.repeats} of them twice, and refused {len(crm.refused)}"
    )


async def _play(org: Org, playing: _Playing) -> None:
    lines = [line.envelope for file in playing.files for line in read_recording(file, [])]
    follow = ", ".join(f"queue:{queue}" for queue in queues(lines) or [org.settings.queue])
    click.echo(f"waiting for a bridge to listen (it should follow {follow}) …")
    await somebody_listens(org)
    async with asyncio.TaskGroup() as group:
        group.create_task(play(org, lines, speed=playing.speed))
        if playing.url:
            posting = group.create_task(
                post_webhooks(playing.url, playing.secret, lines, clock=MachineClock(), speed=playing.speed)
            )
    click.echo(f"played {len(lines)} lines")
    if playing.url:
        done = posting.result()
        click.echo(f"posted {done.accepted} webhooks: {done.duplicates} were stored already, {done.refused} refused")


def queues(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The queues that a bridge has to follow to hear these recorded envelopes over its channel."""
    bodies = [line.get("detail", line).get("eventBody", {}) for line in lines]
    return sorted({str(body["queueId"]) for body in bodies if body.get("queueId")})


async def somebody_listens(org: Org) -> None:
    """Wait for a channel with topics and a socket: what is said before that, nobody hears."""
    await org.until(lambda: any(channel.topics and channel.socket for channel in org.live_channels()))
