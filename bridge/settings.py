"""The settings, as frozen classes. `bridge.loading` reads them; everything else is only given them."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen


@frozen(repr=False)
class Secret:
    """A value that masks itself wherever it is printed. `show()` is the only way to it."""

    _value: str = field(alias="value")
    origin: str = ""

    def show(self) -> str:
        """The value, for the one who needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.origin or '***'})"

    __str__ = __repr__


@frozen(kw_only=True)
class Http:
    """Where the bridge listens. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    max_body: int = 1_048_576
    body_timeout: float = 10.0


@frozen(kw_only=True)
class EngineSettings:
    """Where events are kept, and how long. Times in seconds."""

    kind: Literal["sqlite"] = "sqlite"
    path: str = "var/bridge.db"
    partitions: int = 64
    keep_events: float = 7 * 86_400
    lease: float = 2.0


@frozen(kw_only=True)
class Source:
    """A webhook source: POST /webhooks/{name}. `secrets` are tried in order."""

    name: str
    scheme: Literal["standard", "genesys_open_messaging", "token"]
    secrets: tuple[Secret, ...]
    header: str = "Authorization"


@frozen(kw_only=True)
class Timeouts:
    """Of one model call, in seconds: connect, first token, between tokens, the whole."""

    connect: float = 5.0
    first_token: float = 15.0
    between_tokens: float = 15.0
    total: float = 60.0


@frozen(kw_only=True)
class GatewaySettings:
    """The LLM gateway."""

    url: str = "http://127.0.0.1:8091"
    path: str = "/v1/chat/completions"
    key: Secret | None = None
    model: str = "gpt-4o-mini"
    fallback: tuple[str, ...] = ()
    tries: int = 3
    timeouts: Timeouts = Timeouts()


@frozen(kw_only=True)
class Model:
    """A model's window in tokens."""

    name: str
    context: int = 128_000
    output: int = 4_096
    fallback: tuple[str, ...] = ()


@frozen(kw_only=True)
class Budgets:
    """Caps in tokens; 0 means no cap."""

    conversation: int = 200_000
    tenant_per_day: int = 50_000_000


@frozen(kw_only=True)
class DestinationSettings:
    """A CRM callback's destination. `allow`: private networks (CIDR) that it may live in. Times in seconds."""

    name: str
    url: str
    secrets: tuple[Secret, ...] = ()
    allow: tuple[str, ...] = ()
    headers: tuple[tuple[str, Secret], ...] = ()
    timeout: float = 15.0
    concurrency: int = 8
    rate: float = 0.0
    tries: int = 10
    give_up_after: float = 3 * 86_400


@frozen(kw_only=True)
class GenesysSettings:
    """The org. `follow`: queue topics or user topics, as `queue:ID` and `user:ID`."""

    domain: str = ""
    api_url: str = ""
    login_url: str = ""
    client_id: str = ""
    client_secret: Secret | None = None
    dialect: Literal["platform", "ai_gateway"] = "platform"
    follow: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@frozen(kw_only=True)
class Cards:
    """Suggestions on the panel. `late` in seconds after the words they are based on ended; `unmask`: what the
    agent may see in plain.
    """

    late: float = 8.0
    unmask: tuple[str, ...] = ()


@frozen(kw_only=True)
class Handlers:
    """Routers to load, by dotted name `package.module:attribute`. `tries` before a delivery is dead."""

    enabled: tuple[str, ...] = ("handlers:router",)
    tries: int = 5
    timeout: float = 120.0


@frozen(kw_only=True)
class Prompts:
    """The folder of prompt files; empty: those that come with the bridge."""

    path: str = ""


@frozen(kw_only=True)
class Panel:
    """Who may embed the panel, and the secret that signs its sessions; none: only loopback may see it."""

    frame_ancestors: tuple[str, ...] = ()
    secret: Secret | None = None


@frozen(kw_only=True)
class Logs:
    """How loud."""

    level: Literal["debug", "info", "warning", "error"] = "info"


@frozen(kw_only=True)
class Settings:
    """Everything a bridge is told."""

    http: Http = Http()
    engine: EngineSettings = EngineSettings()
    webhooks: tuple[Source, ...] = ()
    gateway: GatewaySettings = GatewaySettings()
    models: tuple[Model, ...] = ()
    budgets: Budgets = Budgets()
    destinations: tuple[DestinationSettings, ...] = ()
    genesys: GenesysSettings = GenesysSettings()
    cards: Cards = Cards()
    handlers: Handlers = Handlers()
    prompts: Prompts = Prompts()
    panel: Panel = Panel()
    logs: Logs = Logs()
