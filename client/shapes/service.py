"""What a server says of itself, and why there is no answer.

Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited.
"""

from typing import Any, Literal, NotRequired, TypedDict

ErrorCode = Literal[
    "invalid_request",
    "not_supported",
    "malformed_request",
    "malformed_json",
    "duplicate_key",
    "too_deep",
    "too_many_values",
    "too_many_keys",
    "key_too_long",
    "ambiguous_length",
    "body_too_large",
    "body_timeout",
    "head_timeout",
    "headers_too_large",
    "unsupported_media_type",
    "unsupported_encoding",
    "not_found",
    "unknown_model",
    "method_not_allowed",
    "http_error",
    "too_many_connections",
    "queue_full",
    "engine_unavailable",
    "deadline_passed",
    "request_failed",
    "batch_failed",
    "model_unsupported",
    "engine_error",
    "internal_error",
]

ProblemCode = Literal[
    "out_of_range",
    "context_exceeded",
    "conflict",
    "not_supported",
    "unknown_field",
    "unknown_name",
    "wrong_type",
    "wrong_shape",
    "invalid",
    "missing",
    "empty",
    "too_few",
    "too_short",
    "too_long",
    "not_allowed",
    "no_tokenizer",
    "not_tokenizable",
    "not_unicode",
    "control_token",
    "chat_template",
    "bad_arguments",
    "invalid_grammar",
    "broken_config",
]


class FieldProblem(TypedDict):
    """One thing wrong with one field of the body."""

    pointer: str
    code: ProblemCode
    message: str


class ProblemJson(TypedDict):
    """RFC 9457 problem, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    request_id: str
    retryable: bool
    errors: NotRequired[list[FieldProblem]]


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


class ValidateAnswer(TypedDict):
    """What would run. `mode` and `generation_config` are absent if the fields could not be read."""

    is_valid: bool
    mode: NotRequired[GenerationMode | None]
    generation_config: NotRequired[dict[str, Any] | None]
    problems: list[FieldProblem]
    warnings: list[str]


class DefaultsAnswer(TypedDict):
    """The configuration in force where a request is silent, and the names of stored ones."""

    generation_config: dict[str, Any]
    mode: GenerationMode
    stored: list[str]


Stage = Literal["starting", "resolve", "download", "weights", "check", "ready", "stalled", "stopping", "failed"]


class ModelAnswer(TypedDict):
    """The loaded model and what it is run with, as far as its `ModelInfo` is for everybody."""

    name: str
    model_id: str
    revision: NotRequired[str | None]
    model_type: str
    dtype: str
    device: str
    num_parameters: int
    vocab_size: int
    context_len: int
    max_len: int
    num_layers: int
    has_tokenizer: bool
    has_chat_template: bool
    reads_tools: bool
    runner: str
    attention: str
    kernels: str


class RequestLimits(TypedDict):
    """What one request may ask for; `max_requests` and `max_waiting` bound all of them together."""

    max_requests: int
    max_waiting: int
    max_rows: int
    max_beams: int
    max_prompts: int
    max_sequences: int
    max_stop_strings: int
    max_top_tokens: int
    max_prompt_tokens: int
    max_total_tokens: int
    max_prompt_bytes: int
    max_body_bytes: int
    max_tensor_bytes: int
    max_answer_bytes: int
    max_build_items: int
    max_step_ms: int
    cache_tokens: int


class SharedInfo(TypedDict):
    """What this server is and can do, in our words and in TGI's."""

    version: str
    status: Stage
    model: NotRequired[ModelAnswer | None]
    modes: NotRequired[list[str]]
    fields: NotRequired[list[str]]
    logits_processors: NotRequired[list[str]]
    stopping_criteria: NotRequired[list[str]]
    tries: NotRequired[list[str]]
    watermarks: NotRequired[list[str]]
    default_watermark: NotRequired[str | None]
    assistants: NotRequired[list[str]]
    limits: NotRequired[RequestLimits | None]
    model_id: NotRequired[str | None]
    model_sha: NotRequired[str | None]
    model_dtype: NotRequired[str | None]
    model_device_type: NotRequired[str | None]
    model_pipeline_tag: NotRequired[str | None]
    max_concurrent_requests: NotRequired[int | None]
    max_best_of: NotRequired[int | None]
    max_stop_sequences: NotRequired[int | None]
    max_input_tokens: NotRequired[int | None]
    max_input_length: NotRequired[int | None]
    max_total_tokens: NotRequired[int | None]
    max_client_batch_size: NotRequired[int | None]
    validation_workers: NotRequired[int | None]
    router: NotRequired[str | None]


class Health(TypedDict):
    """Whether requests are answered, and where loading stands."""

    status: Literal["ready", "not_ready", "alive"]
    stage: Stage
    share: float
    error: NotRequired[str | None]
