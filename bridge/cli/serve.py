"""`bridge serve`: the bridge itself."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack

import click

from bridge.app import ROLES, Role, open_bridge
from bridge.cli.running import ports_free, run, settings_or_exit, until_told_to_stop
from bridge.core.session import sign_session
from bridge.io.logs import set_up_logs
from bridge.settings import Settings


@click.command()
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="Only this part; may be repeated.")
def serve(roles: tuple[Role, ...]) -> None:
    """Receive, store, handle, answer, until told to stop (SIGTERM)."""
    settings = settings_or_exit()
    set_up_logs(settings.logs.level)
    run(_serve(settings, roles or ROLES))


@click.command()
@click.argument("conversation")
@click.option("--minutes", default=60, show_default=True, help="How long it can be opened.")
def link(conversation: str, minutes: int) -> None:
    """Print the panel's address for one conversation, with a session that opens it."""
    settings = settings_or_exit()
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    address = f"http://{host}:{settings.http.port}/panel/{conversation}"
    if settings.panel.secret is not None:
        until = int(time.time()) + minutes * 60
        address += f"?session={sign_session(conversation, until, settings.panel.secret.show())}"
    click.echo(address)


async def _serve(settings: Settings, roles: tuple[Role, ...]) -> None:
    async with AsyncExitStack() as stack:
        with ports_free("http.port"):
            bridge = await stack.enter_async_context(open_bridge(settings, roles=roles))
        where = {"host": settings.http.host, "port": bridge.port}
        logging.getLogger("bridge").info("serving", extra={"action": "serving", "roles": list(roles), **where})
        await until_told_to_stop()
