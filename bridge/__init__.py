"""The public face of the bridge: what a handler needs, and nothing else."""

from bridge.asking import Asking
from bridge.cards import Card
from bridge.context import Context
from bridge.core.events import (
    AgentJoined,
    AgentLeft,
    ConversationEnded,
    ConversationStarted,
    CustomerLeft,
    Event,
    MessageReceived,
    QueueConversation,
    SuggestionRequested,
    SummaryReady,
    TranscriptionStatus,
    Unknown,
    Utterance,
    WrapUp,
)
from bridge.errors import BridgeError, BudgetError, GatewayError, GenesysError, Later, UpstreamError
from bridge.router import Router

__all__ = [
    "AgentJoined",
    "AgentLeft",
    "Asking",
    "BridgeError",
    "BudgetError",
    "Card",
    "Context",
    "ConversationEnded",
    "ConversationStarted",
    "CustomerLeft",
    "Event",
    "GatewayError",
    "GenesysError",
    "Later",
    "MessageReceived",
    "QueueConversation",
    "Router",
    "SuggestionRequested",
    "SummaryReady",
    "TranscriptionStatus",
    "Unknown",
    "UpstreamError",
    "Utterance",
    "WrapUp",
]
