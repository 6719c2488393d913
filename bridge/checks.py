"""What the types of the settings cannot say: ranges, addresses, secrets of the right form. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from attrs import fields

from bridge.core.address import url_problem
from bridge.core.masking.spans import Kind
from bridge.core.signature import check_secret
from bridge.settings import (
    Cards,
    DestinationSettings,
    EngineSettings,
    GatewaySettings,
    GenesysSettings,
    Http,
    Model,
    Panel,
    Settings,
    Source,
    Timeouts,
)

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
FOLLOW = re.compile(r"(queue|user):[0-9A-Za-z-]{1,64}")
HOST = re.compile(r"[A-Za-z0-9.-]{1,253}", re.ASCII)
ORIGIN = re.compile(r"'self'|'none'|https?://[A-Za-z0-9*][A-Za-z0-9.-]*(:\d+|:\*)?", re.ASCII)
"""What may stand in `frame_ancestors`: a source of the page's policy, and nothing that would end its list."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Problem = tuple[str, str]
"""(path of the setting, what would be right)."""


def problems(settings: Settings) -> Iterator[Problem]:
    """Everything that is wrong with settings whose types are right."""
    yield from _http(settings.http)
    yield from _engine(settings.engine)
    yield from _gateway(settings.gateway)
    for source in settings.webhooks:
        yield from _source(source, f"webhooks.{source.name}")
    for destination in settings.destinations:
        yield from _destination(destination, f"destinations.{destination.name}")
    for model in settings.models:
        yield from _model(model, f"models.{model.name}")
    yield from _genesys(settings.genesys)
    yield from _panel(settings.panel, settings.http)
    yield from _cards(settings.cards)
    yield from _positive("handlers", settings.handlers, "tries", "timeout")
    for name in ("conversation", "tenant_per_day"):
        if getattr(settings.budgets, name) < 0:
            yield f"budgets.{name}", "must be 0 (no cap) or more"


def _positive(path: str, section: object, *names: str) -> Iterator[Problem]:
    for name in names:
        if getattr(section, name) <= 0:
            yield f"{path}.{name}", "must be more than 0"


def _http(http: Http) -> Iterator[Problem]:
    if not 0 <= http.port < 65_536:
        yield "http.port", "must be 0 (any free one) to 65535"
    yield from _positive("http", http, "max_body", "body_timeout")


def _engine(engine: EngineSettings) -> Iterator[Problem]:
    if not engine.path:
        yield "engine.path", "must name a file, such as var/bridge.db"
    yield from _positive("engine", engine, "partitions", "keep_events", "lease")


def _gateway(gateway: GatewaySettings) -> Iterator[Problem]:
    if wrong := url_problem(gateway.url):
        yield "gateway.url", wrong
    if not gateway.path.startswith("/"):
        yield "gateway.path", "must begin with a slash, such as /v1/chat/completions"
    if not gateway.model:
        yield "gateway.model", "must name what handlers ask, such as gpt-4o-mini"
    yield from _positive("gateway", gateway, "tries")
    yield from _positive("gateway.timeouts", gateway.timeouts, *(one.name for one in fields(Timeouts)))


def _source(source: Source, path: str) -> Iterator[Problem]:
    if not NAME.fullmatch(source.name):
        yield path, "the name becomes part of an address: use letters, digits, - and _"
    if not source.secrets:
        yield f"{path}.secrets", 'must name at least one secret, such as ["env:WEBHOOK_SECRET"]'
    for index, secret in enumerate(source.secrets):
        if wrong := check_secret(source.scheme, secret.show()):
            yield f"{path}.secrets[{index}]", f"{secret.origin}: {wrong}"


def _destination(destination: DestinationSettings, path: str) -> Iterator[Problem]:
    if wrong := url_problem(destination.url):
        yield f"{path}.url", wrong
    if not destination.secrets:
        yield f"{path}.secrets", 'must name at least one secret to sign with, such as ["env:CRM_SECRET"]'
    for index, secret in enumerate(destination.secrets):
        if wrong := check_secret("standard", secret.show()):
            yield f"{path}.secrets[{index}]", f"{secret.origin}: {wrong}"
    yield from _networks(f"{path}.allow", destination.allow)
    yield from _positive(path, destination, "timeout", "concurrency", "tries", "give_up_after")
    if destination.rate < 0:
        yield f"{path}.rate", "must be 0 (no limit) or more"


def _genesys(genesys: GenesysSettings) -> Iterator[Problem]:
    for topic in genesys.follow:
        if not FOLLOW.fullmatch(topic):
            yield "genesys.follow", f"{topic!r} must be queue:ID or user:ID"
    for name in ("api_url", "login_url"):
        if (url := getattr(genesys, name)) and (wrong := url_problem(url)):
            yield f"genesys.{name}", wrong
    if genesys.domain and not HOST.fullmatch(genesys.domain):
        yield "genesys.domain", f"{genesys.domain!r} is no domain; mypurecloud.de would be right, without https://"
    if genesys.follow and not genesys.client_id:
        yield "genesys.client_id", "is missing, and without it nothing is followed"
    if genesys.client_id and genesys.client_secret is None:
        yield "genesys.client_secret", 'is missing, such as "env:GENESYS_SECRET"'
    if genesys.client_id and not (genesys.domain or (genesys.api_url and genesys.login_url)):
        yield "genesys.domain", 'is missing, such as "mypurecloud.de"'
    yield from _networks("genesys.allow", genesys.allow)


def _model(model: Model, path: str) -> Iterator[Problem]:
    yield from _positive(path, model, "context", "output")
    if model.output > model.context:
        yield f"{path}.output", f"must not be more than its context, {model.context}"


def _panel(panel: Panel, http: Http) -> Iterator[Problem]:
    if http.host not in LOOPBACK and panel.secret is None:
        yield "panel.secret", f"is needed, since http.host is {http.host} and not loopback"
    for embedder in panel.frame_ancestors:
        if not ORIGIN.fullmatch(embedder):
            yield "panel.frame_ancestors", f"{embedder!r} is no origin; https://apps.mypurecloud.de would be right"


def _cards(cards: Cards) -> Iterator[Problem]:
    yield from _positive("cards", cards, "late")
    for kind in cards.unmask:
        if kind not in Kind.__members__:
            yield "cards.unmask", f"{kind!r} is no kind; there are {', '.join(Kind.__members__)}"


def _networks(path: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    for network in allowed:
        try:
            ip_network(network)
        except ValueError as error:
            yield path, f"{error}; write a network such as 10.1.0.0/16"
