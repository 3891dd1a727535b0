"""A typed client for Beamhouse servers, on httpx alone: `Client`, and `AsyncClient` for asyncio.

`from beamhouse.client import Client` is the same whether all of Beamhouse is installed or `beamhouse-client` alone.
"""

from beamhouse.client.async_client import AsyncClient
from beamhouse.client.client import Client
from beamhouse.client.errors import (
    AnswerBroken,
    BeamhouseError,
    Busy,
    DeadlinePassed,
    InvalidRequest,
    NoAnswer,
    Refused,
    RequestFailed,
    Unavailable,
)
from beamhouse.client.shapes.answers import Answer, SequenceAnswer
from beamhouse.client.shapes.config import GenerationConfig
from beamhouse.client.shapes.events import Event
from beamhouse.client.shapes.fields import GenerateFields
from beamhouse.client.wire import Retries

__all__ = [
    "Answer",
    "AnswerBroken",
    "AsyncClient",
    "BeamhouseError",
    "Busy",
    "Client",
    "DeadlinePassed",
    "Event",
    "GenerateFields",
    "GenerationConfig",
    "InvalidRequest",
    "NoAnswer",
    "Refused",
    "RequestFailed",
    "Retries",
    "SequenceAnswer",
    "Unavailable",
]
