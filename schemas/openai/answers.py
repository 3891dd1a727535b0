"""What the routes of OpenAI's protocol answer, whole and in pieces.

They are written once and never read here, so they are plain structures that one call encodes. A field that is UNSET is
absent; null where the API says null.
"""

import msgspec
from msgspec import UNSET, UnsetType

from beamhouse.schemas.beamhouse.events import ProgressEvent

LOWEST = -9999.0
"""What the API writes for a log-probability of minus infinity."""


class PromptDetails(msgspec.Struct, frozen=True):
    """Of the tokens of the prompt."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct, frozen=True):
    """Of the generated tokens: how many were drafted and kept, and how many drafted in vain."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Tokens of all prompts, and of all that was generated."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | UnsetType = UNSET
    completion_tokens_details: CompletionDetails | UnsetType = UNSET


class PromptToken(msgspec.Struct, frozen=True):
    """One of the tokens at a position of the prompt. rank: among the likeliest ones, from 1; null below those told."""

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptToken] | None]
"""For each position of a prompt its token and the likeliest ones by id; null for the first, which nothing precedes."""


class CompletionLogprobs(msgspec.Struct):
    """Of the tokens of a choice, with `echo` those of the prompt before them; null where nothing precedes."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    """One continuation, or a piece of it. stop_reason: the string or the id that ended it, but for the model's ends."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET


class Completion(msgspec.Struct):
    """The answer of `/v1/completions`, and each chunk of its stream.

    warnings: what of the request has no effect. native: the answer of `/generate`, for a request with `outputs`.
    progress: how a search stands, for a stream that asked for it.
    """

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    object: str = "text_completion"
    usage: Usage | UnsetType | None = UNSET
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET
    progress: ProgressEvent | UnsetType = UNSET


class TokenLikelihood(msgspec.Struct, frozen=True):
    """A token and its log-probability. bytes: of its text, which may be none by itself."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(msgspec.Struct, frozen=True):
    """A token of an answer, and the likeliest ones in its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenLikelihood]


class ChatLogprobs(msgspec.Struct):
    """Of all tokens of an answer, whatever became of them: text, reasoning or calls."""

    content: list[ChatToken]
    refusal: list[ChatToken] | None = None


class FunctionCall(msgspec.Struct):
    """What is called, and with what: JSON, or a piece of it."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCall(msgspec.Struct):
    """A call of a tool, or a piece of one."""

    function: FunctionCall
    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class ChatMessage(msgspec.Struct):
    """What the model says. In a chunk what is added to it; then all but what is added is absent."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct):
    """One answer."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct):
    """A piece of one answer."""

    index: int
    delta: ChatMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatCompletion(msgspec.Struct):
    """The answer of `/v1/chat/completions`; see `Completion`."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    object: str = "chat.completion"
    usage: Usage | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class ChatChunk(msgspec.Struct):
    """A chunk of its stream."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    object: str = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET
    progress: ProgressEvent | UnsetType = UNSET


class ModelCard(msgspec.Struct):
    """A model that is served. max_model_len: tokens of a sequence."""

    id: str
    created: int
    owned_by: str
    max_model_len: int
    object: str = "model"


class ModelList(msgspec.Struct):
    """All that are served."""

    data: list[ModelCard]
    object: str = "list"


class ErrorDetail(msgspec.Struct):
    """What went wrong. param: the field of the body. code: for programs."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct):
    """Why there is no answer; in a stream the last chunk."""

    error: ErrorDetail
