"""What `POST /v1/responses` answers; the last event of its stream holds the same.

Plain structures that one call encodes. The events themselves are put together where they are told.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(msgspec.Struct, tag="output_text"):
    """What the model said. logprobs: of its tokens, where they were asked for."""

    text: str = ""
    annotations: list[Any] = []
    logprobs: list[Any] = []


class ReasoningText(msgspec.Struct, tag="reasoning_text"):
    """What it thought."""

    text: str = ""


class MessageOutput(msgspec.Struct, tag="message"):
    """A message of the assistant."""

    id: str
    status: Status = "in_progress"
    role: str = "assistant"
    content: list[OutputText] = []


class ReasoningOutput(msgspec.Struct, tag="reasoning"):
    """Its thoughts as they are; there is no summary of them."""

    id: str
    status: Status = "in_progress"
    summary: list[Any] = []
    content: list[ReasoningText] = []


class FunctionCallOutput(msgspec.Struct, tag="function_call"):
    """A call of a function. arguments: JSON, as the model wrote it."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Status = "in_progress"


OutputItem = MessageOutput | ReasoningOutput | FunctionCallOutput


class InputDetails(msgspec.Struct, frozen=True):
    """Of the tokens of the prompt."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True):
    """Of the generated tokens: those that the thoughts have when they are tokenised by themselves."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseFailure(msgspec.Struct, frozen=True):
    """Why it failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why it broke off."""

    reason: str


class ResponseAnswer(msgspec.Struct, tag="response", tag_field="object", kw_only=True):
    """A response. What the client said of it is told back.

    warnings: what of the request has no effect. native: the answer of `/generate`, for a request with `outputs`.
    """

    id: str
    created_at: int
    model: str
    status: Status = "in_progress"
    output: list[OutputItem] = []
    usage: ResponseUsage | None = None
    error: ResponseFailure | None = None
    incomplete_details: IncompleteDetails | None = None
    completed_at: int | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, Any] = {}
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    background: bool = False
    reasoning: dict[str, Any] = {}
    service_tier: str = "default"
    store: bool = False
    temperature: float | None = None
    text: dict[str, Any] = {}
    tool_choice: Any = "auto"
    tools: list[Any] = []
    top_logprobs: int = 0
    top_p: float | None = None
    truncation: str = "disabled"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class ResponseEvent(msgspec.Struct, frozen=True):
    """What all events of the stream have; the rest goes by `type`."""

    type: str
    sequence_number: int
