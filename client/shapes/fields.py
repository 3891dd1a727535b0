"""The fields of the bodies that this client sends.

Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited.
"""

from typing import Any, Literal, NotRequired, TypedDict

from beamhouse.client.shapes.config import GenerationConfig, SynthIDTextWatermarkingConfig, WatermarkingConfig

GenerateInputs = str | list[str] | list[int] | list[list[int]] | dict[str, Any] | None


class TextPart(TypedDict):
    """A part of what a message says."""

    type: Literal["text"]
    text: str


class CalledFunction(TypedDict):
    """The function of a call. Templates get the arguments as an object."""

    name: str
    arguments: dict[str, Any] | str


class ToolCall(TypedDict):
    """A call that the assistant made."""

    id: NotRequired[str | None]
    type: Literal["function"]
    function: CalledFunction


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: NotRequired[str | list[TextPart | dict[str, Any]] | None]
    reasoning_content: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]


ToolFunction = TypedDict(
    "ToolFunction",
    {
        "name": str,
        "description": NotRequired[str | None],
        "parameters": NotRequired[dict[str, Any] | None],
        "strict": NotRequired[bool | None],
        "return": NotRequired[dict[str, Any] | None],
    },
)
"""A function that the model may call."""


class Tool(TypedDict):
    """A tool, as templates show it to the model."""

    type: Literal["function"]
    function: ToolFunction


GenerationMode = Literal[
    "greedy_search",
    "sample",
    "beam_search",
    "beam_sample",
    "group_beam_search",
    "constrained_beam_search",
    "contrastive_search",
    "dola_generation",
    "assisted_generation",
]


class PrefixAllowedTokens(TypedDict, total=False):
    """`prefix_allowed_tokens_fn` as data: exactly one of the fields before `whitespace`."""

    token_ids: list[int] | None
    sequences: list[list[int]] | None
    trie: str | None
    regex: str | None
    json_schema: dict[str, Any] | None
    grammar: str | None
    whitespace: Literal["compact", "single", "free"] | None


class NamedCallable(TypedDict):
    """A logits processor or stopping criterion registered on the server."""

    name: str
    args: NotRequired[dict[str, Any]]


class TransitionScores(TypedDict, total=False):
    """How the scores of chosen tokens are given: as log-probabilities, or as the processed scores themselves."""

    normalize_logits: bool


class Outputs(TypedDict, total=False):
    """What to return beside text and token ids."""

    transition_scores: bool | TransitionScores | None
    top_n_tokens: int | None
    logprobs: Literal["processed", "raw"] | None
    prompt_logprobs: bool | None
    prompt_top_n_tokens: int | None
    prompt_only: bool | None
    config: bool | None
    tensors: Literal["json", "base64", "safetensors"] | None
    watermark_flags: bool | None
    progress: bool | None
    skip_special_tokens: bool | None
    include_stop_string: bool | None
    positions: list[int] | None
    layers: list[int] | None


class GenerateFields(TypedDict, total=False):
    """One prompt or several, and how to continue them."""

    messages: list[Message] | None
    tools: list[Tool] | None
    documents: list[dict[str, Any]] | None
    chat_template_kwargs: dict[str, Any] | None
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    negative_prompt: str | list[str] | None
    negative_prompt_ids: list[int] | list[list[int]] | None
    negative_prompt_attention_mask: list[int] | list[list[int]] | None
    assistant_model: str | None
    force_words: list[str | list[str]] | None
    mode: GenerationMode | None
    seed: int | list[int] | None
    prng_key: list[int] | None
    prefix_allowed_tokens: PrefixAllowedTokens | None
    logits_processor: list[NamedCallable] | None
    stopping_criteria: list[NamedCallable] | None
    outputs: Outputs | None
    priority: int | None
    deadline_s: float | None
    cache_salt: str | None
    generation_config: GenerationConfig | str | None
    add_special_tokens: bool | None
    truncate: int | None
    copies: int | None
    fill_context: bool | None


class ScorePair(TypedDict):
    """A prompt (null: `bos_token_id`) and what may follow it. Texts are turned into tokens apart from each other."""

    prompt: NotRequired[str | list[int] | None]
    continuation: str | list[int]


ScorePairs = list[ScorePair]


class ScoreFields(TypedDict, total=False):
    """Pairs to score, each by itself."""

    priority: int | None
    deadline_s: float | None
    cache_salt: str | None


TokenizeInputs = str | list[str] | None


class TokenizeFields(TypedDict, total=False):
    """A text, several, or a conversation for the model's chat template."""

    messages: list[Message] | None
    tools: list[Tool] | None
    documents: list[dict[str, Any]] | None
    chat_template_kwargs: dict[str, Any] | None
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    add_special_tokens: bool | None


DetokenizeTokenIds = list[int] | list[list[int]]


class DetokenizeFields(TypedDict, total=False):
    """Token ids, or several lists of them."""

    skip_special_tokens: bool


DetectInputs = str | list[str] | list[int] | list[list[int]] | dict[str, Any]


class DetectFields(TypedDict, total=False):
    """Texts, and the watermark to look for. A prompt that is not marked is best left out."""

    watermarking_config: WatermarkingConfig | SynthIDTextWatermarkingConfig | str | None
    z_threshold: float | None
    threshold: float | None
    ignore_repeated_ngrams: bool
    return_flags: bool


ValidateGenerationConfig = dict[str, Any] | str


class ValidateFields(TypedDict, total=False):
    """A configuration to look at: an object (also as JSON text) or the name of a stored one."""

    assistant_model: str | None
    prompt_len: int


TransitionScoresSequences = list[list[int]]


class Base64Tensor(TypedDict):
    """A tensor of steps x rows x vocabulary as row-major little-endian bytes."""

    dtype: Literal["float32", "float16", "bfloat16"]
    shape: list[int]
    data: str


TransitionScoresScores = list[Any] | Base64Tensor


class TransitionScoresFields(TypedDict, total=False):
    """The arguments of the library's function."""

    beam_indices: list[list[int]] | None
    normalize_logits: bool
