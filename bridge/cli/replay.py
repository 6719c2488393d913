"""`bridge replay`: recorded conversations through the bridge on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
import shutil
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import orjson
from attrs import evolve, frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bridge.app import WORKER, Bridge, Parts, open_bridge
from bridge.cli.running import DONE, FAILED, OutFile, run, settings_or_exit
from bridge.errors import ConfigError
from bridge.io.logs import set_up_logs
from bridge.replay import Read, ReplayClock, feed, first_ms, until_idle
from bridge.results import FAULTS, Results, figures, read_results, result_lines
from bridge.settings import DestinationSettings, Secret, Settings
from bridge.sim.crm import SimCrm, make_crm
from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.serving import open_app

SPEEDS = {"1": 1.0, "10": 10.0, "max": None}
FIRST_TOKEN, TOKENS_A_SECOND = 0.4, 80.0
LOOPBACK = "127.0.0.0/8"
DEFAULT_DESTINATION = "crm"
MOST_TOLD = 20
BESIDE = re.compile(r"(-wal|-shm|-journal|(\.[0-9a-f]{32})?\.lock|\.bus)?")
NEEDED = ("engine", "gateway", "models", "budgets", "cards", "handlers", "prompts")


@frozen(kw_only=True)
class Plan:
    """What was typed."""

    files: tuple[Path, ...]
    speed: float | None
    out: Path | None
    gateway: str
    crm: str
    state: Path
    patience: float
    together: bool


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--speed", type=click.Choice(list(SPEEDS)), default="max", show_default=True, help="Recorded gaps, or none."
)
@click.option("--out", type=OutFile(), help="Write the result lines (JSON Lines) here.")
@click.option("--gateway", default="", metavar="URL", help="A real gateway instead of the simulated one.")
@click.option("--crm", default="", metavar="URL", help="A real CRM instead of the simulated one.")
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="Where a replay that was killed goes on."
)
@click.option("--together", is_flag=True, help="At speed 1 and 10: all recordings begin at the same time.")
@click.option("--patience", default=60.0, show_default=True, help="Seconds without any progress before giving up.")
def replay(  # noqa: PLR0913, PLR0917 - one argument an option
    files: tuple[Path, ...],
    speed: str,
    out: Path | None,
    gateway: str,
    crm: str,
    state: Path | None,
    patience: float,
    *,
    together: bool,
) -> None:
    """Play recordings through the bridge, then say what came of every event.

    Run again after a kill, the same command goes on where it was cut off. What it stores is kept apart from the
    engine of `bridge serve`, and forgotten once all went well.
    """
    settings = settings_or_exit(*NEEDED, *(("destinations",) if crm else ()))
    set_up_logs("error")
    plan = Plan(
        files=files,
        speed=SPEEDS[speed],
        out=out,
        gateway=gateway,
        crm=crm,
        state=state or _state_of(files, speed, gateway, crm, str(together)),
        patience=patience,
        together=together,
    )
    raise SystemExit(run(_replay(plan, settings)))


def _state_of(files: tuple[Path, ...], *terms: str) -> Path:
    """A place that the same command finds again, and that only this user can read."""
    what = [f"{file.resolve()}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in sorted(files)]
    name = hashlib.sha256("\n".join([*terms, *what]).encode()).hexdigest()[:16]
    root = os.environ.get("XDG_STATE_HOME") or (Path.home() / ".local" / "state")
    return Path(root) / "bridge" / "replay" / f"{name}.db"


async def _replay(plan: Plan, settings: Settings) -> int:
    clock = ReplayClock(first_ms(plan.files), plan.speed) if plan.speed else None
    plan.state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        crm, settings = await _surroundings(plan, settings, stack)
        parts = Parts(clock=clock) if clock else Parts(in_order=True)
        async with open_bridge(settings, roles=[WORKER], parts=parts) as bridge:
            read = await _run(bridge, plan, clock)
            results = await read_results(bridge.engine)
    rows = figures(results, read.events, timed=clock is not None)
    rows |= {"came again, stored once": read.repeated, "lines refused": len(read.refused)}
    rows |= _verified(crm) if crm else {}
    if plan.out:
        _write(plan.out, results)
    _tell_refused(read.refused)
    _show(rows)
    if not _failed(rows):
        _forget(plan.state)
        return DONE
    _keep(plan.state, rows)
    return FAILED


async def _run(bridge: Bridge, plan: Plan, clock: ReplayClock | None) -> Read:
    async with _progress() as (reading, working):
        read = await feed(bridge, plan.files, clock, lambda read: reading(read.lines), together=plan.together)
        await until_idle(bridge, plan.patience, lambda counts: working(counts.waiting + counts.callbacks_waiting))
    return read


async def _surroundings(plan: Plan, settings: Settings, stack: AsyncExitStack) -> tuple[SimCrm | None, Settings]:
    """The simulators that are wanted, and settings that point to them and to nothing else."""
    gateway, destinations, crm = plan.gateway, settings.destinations, None
    if not gateway:
        speed = plan.speed or 0.0
        sim = SimGateway(first_token=FIRST_TOKEN / speed if speed else 0.0, tokens_per_second=TOKENS_A_SECOND * speed)
        gateway = await stack.enter_async_context(open_app(make_gateway(sim)))
    if plan.crm:
        destinations = tuple(evolve(one, url=plan.crm) for one in destinations)
        if not destinations:
            raise ConfigError([f"destinations.{DEFAULT_DESTINATION}: is missing; --crm signs with its secrets"])
    else:
        secret = Secret("whsec_" + b64encode(secrets.token_bytes(24)).decode(), origin="made for this replay")
        crm = SimCrm(secrets=[secret.show()])
        url = await stack.enter_async_context(open_app(make_crm(crm)))
        names = {one.name for one in destinations} | {DEFAULT_DESTINATION}
        destinations = tuple(
            DestinationSettings(name=name, url=f"{url}/{name}", secrets=(secret,), allow=(LOOPBACK,))
            for name in sorted(names)
        )
    return crm, evolve(
        settings,
        engine=evolve(settings.engine, path=str(plan.state)),
        gateway=evolve(settings.gateway, url=gateway),
        destinations=destinations,
        genesys=evolve(settings.genesys, client_id="", follow=()),
    )


def _verified(crm: SimCrm) -> dict[str, int]:
    """What the simulated CRM says: it verifies each signature and counts what it gets twice."""
    return {
        "callbacks refused by the CRM": len(crm.refused),
        "callbacks the CRM got twice": crm.repeats,
        "callbacks verified by the CRM": len(crm.accepted),
    }


def _failed(rows: dict[str, int | float | str]) -> bool:
    bad = (*FAULTS, "lines refused", "callbacks refused by the CRM")
    return any(rows.get(name) for name in bad)


def _write(out: Path, results: Results) -> None:
    """Whole or not at all: a reader never sees half a result."""
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=out.name, delete=False) as file:
        for line in result_lines(results):
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    Path(file.name).replace(out)


def _is_of(name: str, state: str) -> bool:
    return name.startswith(state) and BESIDE.fullmatch(name.removeprefix(state)) is not None


def _forget(state: Path) -> None:
    """The engine's file and what it keeps beside it; a run that was killed leaves a folder of sockets."""
    for path in [path for path in state.parent.iterdir() if _is_of(path.name, state.name)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _keep(state: Path, rows: dict[str, int | float | str]) -> None:
    """What waits can go on; what is over is put aside to be looked at, and the same command begins anew."""
    if rows["deliveries waiting"] or rows["callbacks waiting"]:
        click.echo("gave up waiting: the same command goes on where this one ended", err=True)
        return
    aside = state.with_name(f"{state.name}.failed")
    _forget(aside)
    for suffix in ("", "-wal", "-shm"):
        path = state.with_name(state.name + suffix)
        if path.exists():
            path.replace(aside.with_name(aside.name + suffix))
    _forget(state)
    click.echo(f"to look into it: BRIDGE_ENGINE_PATH={shlex.quote(str(aside))} bridge dead list", err=True)


@asynccontextmanager
async def _progress() -> AsyncIterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Bars on a terminal, nothing in a pipe."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        lines = progress.add_task("lines", total=None)
        left = progress.add_task("to do", total=None)
        yield lambda n: progress.update(lines, completed=n), lambda n: progress.update(left, completed=n)


def _tell_refused(refused: list[str]) -> None:
    for problem in refused[:MOST_TOLD]:
        click.echo(f"refused: {problem}", err=True)
    if len(refused) > MOST_TOLD:
        click.echo(f"refused: {len(refused) - MOST_TOLD} more", err=True)


def _show(rows: dict[str, int | float | str]) -> None:
    console = Console()
    if not console.is_terminal:
        for name, value in rows.items():
            click.echo(f"{name}: {value}")
        return
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)
