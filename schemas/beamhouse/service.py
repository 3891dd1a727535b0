"""Answers of the routes beside generation: health, information, configurations."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.beamhouse.problem_json import FieldProblem
from beamhouse.schemas.generation.bounds import MAX_NAME_CHARS
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import Stage


class Health(BaseModel):
    """Whether requests are answered, and where loading stands."""

    status: Literal["ready", "not_ready", "alive"]
    stage: Stage
    share: float = Field(description="How much of the stage is done, 0 to 1.")
    error: str | None = None


class ModelAnswer(BaseModel):
    """The loaded model and what it is run with, as far as its `ModelInfo` is for everybody."""

    model_config = ConfigDict(protected_namespaces=(), from_attributes=True)

    name: str = Field(validation_alias="model_id")
    model_id: str
    revision: str | None = None
    model_type: str
    dtype: str
    device: str
    num_parameters: int
    vocab_size: int
    context_len: int = Field(description="Tokens the model is made for, prompt included.")
    max_len: int = Field(
        validation_alias="most_tokens",
        description="Most tokens of a sequence; beyond `context_len` the model was never trained.",
    )
    num_layers: int
    has_tokenizer: bool
    has_chat_template: bool
    reads_tools: bool = Field(description="Whether the chat template shows `tools` to the model.")
    runner: str
    attention: str
    kernels: str = Field(description="What computes: a variant of the native kernels and how much it runs, or torch.")


class RequestLimits(BaseModel):
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


class InfoAnswer(BaseModel):
    """What this server is and can do. Everything that depends on the model is absent until it is loaded."""

    version: str
    status: Stage
    model: ModelAnswer | None = None
    modes: list[str] = []
    fields: list[str] = Field(default=[], description="Fields of GenerationConfig that are obeyed.")
    logits_processors: list[str] = []
    stopping_criteria: list[str] = []
    tries: list[str] = []
    watermarks: list[str] = Field(default=[], description="Names that `watermarking_config` may hold.")
    default_watermark: str | None = Field(default=None, description="The one of requests that say nothing of it.")
    assistants: list[str] = Field(default=[], description="Draft models that `assistant_model` may name.")
    limits: RequestLimits | None = None


class DefaultsAnswer(BaseModel):
    """The configuration in force where a request is silent, and the names of stored ones."""

    generation_config: dict[str, Any]
    mode: GenerationMode
    stored: list[str]


class ValidateRequest(Body):
    """A configuration to look at: an object (also as JSON text) or the name of a stored one."""

    generation_config: dict[str, Any] | str
    assistant_model: str | None = Field(
        default=None, max_length=MAX_NAME_CHARS, description="As beside it in a request."
    )
    prompt_len: int = Field(default=1, ge=1, lt=2**31, description="Prompt tokens that lengths are worked out for.")


class ValidateAnswer(BaseModel):
    """What would run. `mode` and `generation_config` are absent if the fields could not be read."""

    is_valid: bool
    mode: GenerationMode | None = None
    generation_config: dict[str, Any] | None = None
    problems: list[FieldProblem]
    warnings: list[str]
