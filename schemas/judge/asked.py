"""What a request asks, and what the model and the settings say: all that the judge looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

from beamhouse.schemas.beamhouse.generate import MAX_TOP_TOKENS, GenerateRequest, Outputs
from beamhouse.schemas.generation.bounds import MAX_STOP_STRINGS
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.model_info import ModelInfo

NO_OUTPUTS = Outputs()


@dataclass(frozen=True, slots=True)
class NegativePrompt:
    """What guidance leads away from: tokens, their field, and the number of positions before them that are masked."""

    token_ids: list[int]
    field: str
    num_masked: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens of one prompt, and the dotted path of the field they came from.

    num_unknown: tokens that are counted, without anybody knowing which. copy: how many there are of it before this one.
    num_dropped: tokens in front that the request has cut off.
    """

    token_ids: list[int]
    field: str
    negative: NegativePrompt | None = None
    num_unknown: int = 0
    copy: int = 0
    num_dropped: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids) + self.num_unknown


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. own: its own configuration. configs: what runs for each prompt; they differ in lengths alone."""

    body: GenerateRequest
    own: GenerationConfig
    configs: Sequence[Resolved]
    prompts: Sequence[Prompt]

    @property
    def config(self) -> Resolved:
        return self.configs[0]

    @property
    def outputs(self) -> Outputs:
        return self.body.outputs or NO_OUTPUTS

    @property
    def generates(self) -> bool:
        """Whether anything is to come behind the prompts. Else their configurations have room for one token each."""
        return not self.outputs.prompt_only

    @property
    def num_top_tokens(self) -> dict[str, int]:
        """How many of the likeliest tokens each field of the outputs asks for."""
        return {name: getattr(self.outputs, name) or 0 for name in ("top_n_tokens", "prompt_top_n_tokens")}

    @property
    def prompt_lens(self) -> list[int]:
        return [prompt.num_tokens for prompt in self.prompts]

    @property
    def num_new(self) -> list[int]:
        """The most new tokens of each prompt's sequences."""
        pairs = zip(self.configs, self.prompt_lens, strict=True)
        return [max(0, config.max_length - prompt_len) for config, prompt_len in pairs]

    @property
    def num_scored(self) -> int:
        """Rows of scores of one prompt in a step: its rows, or the positions that check its drafts."""
        if self.config.mode is GenerationMode.ASSISTED_GENERATION:
            return 1 + (self.config.prompt_lookup_num_tokens or self.config.num_assistant_tokens)
        return self.config.num_rows


@dataclass(frozen=True, slots=True)
class Budget:
    """Of one request. max_step_ms: by how much it may lengthen a step beyond the pass through the model."""

    max_answer_bytes: int
    max_tensor_bytes: int
    max_build_items: int
    max_step_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each the operator lets a request ask for; 0: as much as the model and the engine take."""

    max_sequences: int = 0
    max_stop_strings: int = MAX_STOP_STRINGS
    max_top_tokens: int = MAX_TOP_TOKENS
    max_prompt_tokens: int = 0
    max_total_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the model and the settings say.

    defaults: the model's own configuration, with the watermark of requests that say nothing. watermarks: the names
    there are, sorted. requires_watermark: whether requests may neither turn the mark off nor bring their own.
    """

    info: ModelInfo
    budget: Budget
    defaults: GenerationConfig
    watermarks: Sequence[str] = ()
    requires_watermark: bool = False
    limits: Limits = Limits()

    @property
    def most_tokens(self) -> int:
        """Of a sequence, its prompt included."""
        return min(self.info.most_tokens, self.limits.max_total_tokens or self.info.most_tokens)

    @property
    def silent_len(self) -> int:
        """Where sequences end at the latest if nobody names a length."""
        return min(self.info.silent_len, self.most_tokens)
