"""`bridge demo`: the bridge and its simulators in one process, and a call that goes through them."""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import orjson
from attrs import define, field, frozen
from rich.console import Console
from rich.table import Table

from bridge.app import Bridge, Parts, open_bridge
from bridge.cli.running import DONE, FAILED, run, until_told_to_stop
from bridge.cli.sim import queues, somebody_listens
from bridge.core.genesys import parse
from bridge.core.masking import Masked, hide
from bridge.io.clock import MachineClock
from bridge.io.logs import set_up_logs
from bridge.replay import read_recording, until_idle
from bridge.results import FAULTS, figures, read_results
from bridge.settings import (
    Cards,
    DestinationSettings,
    EngineSettings,
    GatewaySettings,
    GenesysSettings,
    Http,
    Secret,
    Settings,
    Source,
)
from bridge.shipped import shipped
from bridge.sim.crm import SimCrm, make_crm
from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.genesys import ORG, Org, SimGenesys, make_genesys, play, post_webhooks
from bridge.sim.serving import open_app

PORT = 8080
LOOPBACK = "127.0.0.0/8"
ONCE_SPEED, WATCHED_SPEED = 10.0, 1.0
FIRST_TOKEN, TOKENS_A_SECOND = 0.6, 30.0
PATIENCE = 30.0


@click.command()
@click.option("--once", is_flag=True, help="Play the call at ten times its pace, print the figures, and end.")
def demo(*, once: bool) -> None:
    """Show the whole thing: a recorded call through a simulated Genesys Cloud, gateway and CRM."""
    set_up_logs("error")
    raise SystemExit(run(_demo(once=once)))


@define
class Again:
    """Counts events that came by the second door, or in a later snapshot. Implements `ports.Journal`."""

    count: int = 0

    def note(self, action: str, /, **_: str | float | bool | Masked | None) -> None:
        """Count."""
        self.count += action == "repeated"


@frozen
class World:
    """The simulators, and settings that point to them."""

    org: Org
    crm: SimCrm
    webhook_secret: Secret
    settings: Settings


async def _demo(*, once: bool) -> int:
    lines = [line.envelope for line in read_recording(shipped("scenarios") / "bank_call.jsonl", [])]
    expected = {event.id for line in lines for event in parse(line)}
    conversation = next(event.conversation for line in lines for event in parse(line))
    speed = ONCE_SPEED if once else WATCHED_SPEED
    again = Again()
    async with (
        _open_world(speed, queues(lines)[0]) as world,
        open_bridge(world.settings, parts=Parts(journals=[again])) as bridge,
    ):
        console = Console()
        console.print(f"The agent's panel: [bold]http://127.0.0.1:{bridge.port}/panel/{conversation}[/bold]\n")
        async with _narrated(bridge, conversation, console):
            await _play(world, bridge, lines, speed)
            await until_idle(bridge, PATIENCE, lambda _: None)
        failed = await _show(bridge, world, expected, again.count, console)
        if not once:
            console.print("\nStill serving; Ctrl-C ends it.")
            await until_told_to_stop()
    return FAILED if failed else DONE


@asynccontextmanager
async def _open_world(speed: float, queue: str) -> AsyncIterator[World]:
    webhook, crm_secret = _secret("the demo's webhooks"), _secret("the demo's CRM")
    genesys = make_genesys(SimGenesys(queue=queue), clock=MachineClock())
    crm = SimCrm(secrets=[crm_secret.show()])
    model = SimGateway(first_token=FIRST_TOKEN / speed, tokens_per_second=TOKENS_A_SECOND * speed)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-demo-"))
        urls = [await stack.enter_async_context(open_app(app)) for app in (genesys, make_gateway(model), make_crm(crm))]
        settings = _settings(Path(folder), urls, genesys[ORG], webhook, crm_secret)
        yield World(genesys[ORG], crm, webhook, settings)


def _settings(folder: Path, urls: Sequence[str], org: Org, webhook: Secret, crm: Secret) -> Settings:
    genesys_url, gateway_url, crm_url = urls
    return Settings(
        http=Http(port=_free_or_any(PORT)),
        engine=EngineSettings(path=str(folder / "bridge.db")),
        webhooks=(Source(name="demo", scheme="standard", secrets=(webhook,)),),
        gateway=GatewaySettings(url=gateway_url),
        destinations=(DestinationSettings(name="crm", url=crm_url, secrets=(crm,), allow=(LOOPBACK,)),),
        genesys=GenesysSettings(
            api_url=genesys_url,
            login_url=genesys_url,
            client_id=org.settings.client_id,
            client_secret=org.settings.client_secret,
            follow=(f"queue:{org.settings.queue}",),
            allow=(LOOPBACK,),
        ),
        cards=Cards(unmask=("PHONE", "EMAIL")),
    )


def _secret(origin: str) -> Secret:
    return Secret("whsec_" + b64encode(secrets.token_bytes(24)).decode(), origin=origin)


def _free_or_any(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return port if probe.connect_ex(("127.0.0.1", port)) else 0


async def _play(world: World, bridge: Bridge, lines: list[dict[str, object]], speed: float) -> None:
    """The same call over both doors at once: as notifications, and as signed webhooks."""
    await somebody_listens(world.org)
    url = f"http://127.0.0.1:{bridge.port}/webhooks/demo"
    async with asyncio.TaskGroup() as group:
        group.create_task(play(world.org, lines, speed=speed))
        group.create_task(post_webhooks(url, world.webhook_secret, lines, clock=MachineClock(), speed=speed))


# --- what is printed ----------------------------------------------------------------------------------------------

VOICES = {"customer": "cyan", "agent": "green"}
WITHDRAWN = {"superseded", "expired", "failed", "withheld"}


@define
class Narrator:
    """Says what happens as it happens."""

    bridge: Bridge
    conversation: str
    console: Console
    _told: int = field(init=False, default=0)

    async def follow(self, messages: AsyncIterator[bytes]) -> None:
        """Until cancelled."""
        async for message in messages:
            told = orjson.loads(message)
            if told["type"] == "event":
                await self._say()
            elif told["type"] == "card" and told["state"] == "ready":
                await self._suggest(told["text"])
            elif told["type"] == "card" and told["state"] in WITHDRAWN:
                self.console.print(f"          [dim]suggestion {told['state']}[/dim]")

    async def _suggest(self, text: str) -> None:
        """The agent may see more on the panel than a terminal shows: here it is masked again."""
        transcript = await self.bridge.transcripts.of(self.conversation)
        self.console.print("          [yellow]suggestion[/yellow] ", end="")
        self.console.print(hide(text, transcript.vault).text, markup=False, highlight=False)

    async def _say(self) -> None:
        transcript = await self.bridge.transcripts.of(self.conversation)
        for line in (line for line in transcript.lines() if line.seq > self._told):
            colour = VOICES.get(line.speaker, "white")
            self.console.print(f"[{colour}]{line.speaker:>9}[/{colour}] ", end="")
            self.console.print(line.text.text, markup=False, highlight=False)
        self._told = transcript.seq


@asynccontextmanager
async def _narrated(bridge: Bridge, conversation: str, console: Console) -> AsyncIterator[None]:
    async with bridge.bus.subscribe(conversation) as messages:
        telling = asyncio.create_task(Narrator(bridge, conversation, console).follow(messages))
        try:
            yield
        finally:
            telling.cancel()


async def _show(bridge: Bridge, world: World, expected: set[str], again: int, console: Console) -> bool:
    rows = figures(await read_results(bridge.engine), expected, timed=False)
    rows |= {"came again, stored once": again}
    rows |= {"callbacks verified by the CRM": len(world.crm.accepted), "callbacks twice at the CRM": world.crm.repeats}
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)
    return not again or any(rows[name] for name in (*FAULTS, "callbacks twice at the CRM"))
