"""`bridge check` and `bridge routes`: what is set, whether it works, who gets what."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

import click

from bridge.app import connect_genesys, load_router, open_engine
from bridge.cli.running import DONE, FAILED, refuse, run, settings_or_exit
from bridge.errors import BridgeError, ConfigError
from bridge.loading import load_settings
from bridge.settings import Settings
from bridge.shipped import load_prompts

PATIENCE = 5.0


@click.command()
def routes() -> None:
    """Which handler gets which events, and how."""
    router = run(_router(settings_or_exit("handlers")))
    for name, kind, mode in router:
        click.echo(f"{name:32} {kind:24} {mode}")


async def _router(settings: Settings) -> list[tuple[str, str, str]]:
    return [(route.name, route.kind.__name__, route.mode) for route in load_router(settings.handlers.enabled)]


@click.command()
def check() -> None:
    """List all that is wrong with settings, handlers and prompts; when nothing is, try every connection they name."""
    wrong = [*_unread(), *_unloaded()]
    if wrong:
        refuse(ConfigError(wrong))
    raise SystemExit(run(_check(settings_or_exit())))


def _unread() -> Sequence[str]:
    try:
        load_settings()
    except ConfigError as error:
        return error.problems
    return ()


def _unloaded() -> list[str]:
    """What is wrong with each router and prompt that the settings name, and then with the routers together."""
    try:
        settings = load_settings(sections=("handlers", "prompts"))
    except ConfigError:  # is listed by _unread
        return []
    enabled = settings.handlers.enabled
    loads: list[Callable[[], object]] = [partial(load_router, [name]) for name in enabled]
    loads += [partial(load_router, enabled), partial(load_prompts, settings.prompts.path)]
    wrong: list[str] = []
    for load in loads:
        try:
            load()
        except ConfigError as error:
            wrong += error.problems
    return list(dict.fromkeys(wrong))


async def _check(settings: Settings) -> int:
    wrong = 0
    async for what, problem in _tries(settings):
        click.echo(f"{'wrong' if problem else 'ok':6} {what}{': ' + problem if problem else ''}")
        wrong += bool(problem)
    return FAILED if wrong else DONE


async def _tries(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    yield "settings", ""
    router, prompts = load_router(settings.handlers.enabled), load_prompts(settings.prompts.path)
    yield f"handlers: {', '.join(route.name for route in router) or 'none is enabled'}", ""
    yield f"prompts: {', '.join(prompts)}", ""
    yield f"engine at {settings.engine.path}", await _engine(settings)
    yield f"gateway at {settings.gateway.url}", await _reach(settings.gateway.url)
    for one in settings.destinations:
        yield f"destination {one.name} at {one.url}", await _reach(one.url)
    if settings.genesys.client_id:
        yield "Genesys Cloud login", await _login(settings)


async def _engine(settings: Settings) -> str:
    try:
        async with open_engine(settings) as engine:
            await engine.counts()
    except (BridgeError, OSError) as error:
        return str(error)
    return ""


async def _reach(url: str) -> str:
    """Whether somebody listens there. Nothing is sent: what a probe would do at the other end is theirs to say."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except (OSError, socket.gaierror) as error:
        return f"cannot be reached: {error.strerror or error}"
    writer.close()
    return ""


async def _login(settings: Settings) -> str:
    try:
        async with connect_genesys(settings.genesys) as genesys:
            await genesys.token()
    except BridgeError as error:
        return str(error)
    return ""
