"""Serves a simulator on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def open_app(app: web.Application, *, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve until left; gives the URL. `port` 0: any that is free. No access log: some paths are secrets."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
