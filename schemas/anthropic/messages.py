"""The bodies of `POST /v1/messages` and of `POST /v1/messages/count_tokens`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from beamhouse.schemas.anthropic.blocks import (
    AnyTool,
    CacheControl,
    Message,
    OutputConfig,
    Texts,
    ThinkingConfig,
    ToolChoice,
)
from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.beamhouse.conversation import MAX_MESSAGES, MAX_TOOLS
from beamhouse.schemas.beamhouse.own_fields import ClientName, OwnFields
from beamhouse.schemas.generation.bounds import MAX_STOP_STRINGS, AtLeastZero, StopString

HOSTED = frozenset(
    {
        "billing_policy",
        "compaction",
        "container",
        "diagnostics",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "mcp_servers",
        "prefill",
        "thread",
    }
)
"""Fields of the API that speak of what only its own servers have."""


class KeepThoughts(Body):
    """Leave all thoughts in the conversation."""

    type: Literal["clear_thinking_20251015"]
    keep: Literal["all"]


class ContextManagement(Body):
    """What to take out of a conversation: nothing is, so that only edits which keep everything are accepted."""

    edits: Annotated[list[KeepThoughts], Field(max_length=16)] | None = None


class Asked(Body):
    """A conversation, and how the model is shown it."""

    not_supported: ClassVar[frozenset[str]] = HOSTED

    model: ClientName | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: Texts | None = None
    tools: Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    context_management: ContextManagement | None = None
    speed: Literal["standard"] | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="Further variables that the chat template reads; not of Anthropic's protocol."
    )


class CountTokensRequest(Asked):
    """What the tokens of a request are counted of."""


class Metadata(Body):
    """Changes nothing, and is written down nowhere."""

    user_id: ClientName | None = None


class MessagesRequest(Asked, OwnFields):
    """A conversation, and how the model is to go on with it.

    Every field of `generate()` and of `POST /generate` may stand beside Anthropic's own; where both have a name, it
    means what it means to Anthropic.
    """

    not_supported: ClassVar[frozenset[str]] = HOSTED | OwnFields.not_supported

    max_tokens: AtLeastZero
    """Most tokens of the answer, which ends earlier where the context is full; 0 computes the prompt alone."""
    stop_sequences: Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOP_STRINGS)] | None = None
    """Texts before which the answer ends."""
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    """There is one tier."""
