"""Genesys Cloud as the bridge meets it, for the demo, for tests and for users' own tests.

    app = make_genesys(SimGenesys(), clock=clock)     # one aiohttp app: login, API and streaming
    await play(app[ORG], lines)                       # a recording, over the channels
    await post_webhooks(url, secret, lines, …)        # the same, as webhooks

`app[ORG]` is the org: look at what it knows, and set its faults (`answers`, `mute`, `drop()`, `announce_closing()`, …).
"""

from __future__ import annotations

from aiohttp import web

from bridge.ports import Clock
from bridge.sim.genesys_api import ROUTES
from bridge.sim.genesys_edge import ORG, Limits, make_edge
from bridge.sim.genesys_org import Org, SimGenesys
from bridge.sim.genesys_play import Posted, Wrap, play, post_webhooks
from bridge.sim.genesys_socket import hang_up, stream

__all__ = ["ORG", "Org", "Posted", "SimGenesys", "Wrap", "make_genesys", "play", "post_webhooks"]


def make_genesys(settings: SimGenesys, *, clock: Clock) -> web.Application:
    """The app. Run it without an access log: the path of a connectUri is a secret."""
    app = web.Application(middlewares=[make_edge(Limits(settings.calls_per_minute))])
    app[ORG] = Org(settings, clock)
    app.add_routes([*ROUTES, web.get("/channels/{channel}", stream, allow_head=False)])
    app.on_shutdown.append(hang_up)
    return app
