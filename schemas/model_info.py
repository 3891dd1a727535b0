"""What the engine process says once of the model that it has loaded."""

from typing import Any

import msgspec


class TokenizerSwitches(msgspec.Struct, frozen=True):
    """What `tokenizer_config.json` asks for beyond what stands in the tokenizer file.

    clean_up: take the spaces before punctuation out of decoded text. splits_special: special tokens in a text are
    text. control_tokens: those of conversations beside the special ones; None: those that the chat template writes.
    tool_template: a chat template of its own for conversations with tools, where there is one.
    """

    clean_up: bool = False
    splits_special: bool = False
    control_tokens: list[str] | None = None
    tool_template: str | None = None


class ModelInfo(msgspec.Struct, tag=True, frozen=True):
    """Everything the HTTP process needs to know of the loaded model; its arrival means ready.

    context_len: the length that the model is made for, prompt included. max_len: most tokens of a sequence, 0 for as
    many. default_len: where requests that name no length end at the latest, 0 for the same. fields: the
    GenerationConfig fields this engine obeys; one of the others that asks for something is refused by name, with the
    reason in not_obeyed.
    block_size: tokens of a block of the cache. tokenizer_file: a `tokenizer.json`, or None for a model that takes token
    ids alone. special_tokens: bos_token, eos_token, ... as text, for chat templates. reads_tools: whether the chat
    template shows tools to the model. hidden_size, num_heads: for the size of hidden states and attentions, 0 where
    unknown. assistants: draft models by name, each with the drafting fields its own `generation_config.json` sets.
    watermarks: names that requests may use. generation_config may hold the keys of the model's own watermark; they are
    for this process alone.
    """

    model_id: str
    revision: str | None
    model_type: str
    dtype: str
    device: str
    num_parameters: int
    vocab_size: int
    context_len: int
    generation_config: dict[str, Any]
    tokenizer_file: str | None
    chat_template: str | None
    special_tokens: dict[str, str]
    tokenizer_switches: TokenizerSwitches
    modes: list[str]
    fields: list[str]
    not_obeyed: dict[str, str]
    logits_processors: list[str]
    stopping_criteria: list[str]
    tries: list[str]
    num_layers: int
    max_rows: int
    cache_tokens: int
    runner: str
    attention: str
    kernels: str = "torch"
    hidden_size: int = 0
    num_heads: int = 0
    max_beams: int = 0
    assistants: dict[str, dict[str, Any]] = {}
    watermarks: list[str] = []
    max_len: int = 0
    default_len: int = 0
    reads_tools: bool = False
    block_size: int = 1

    @property
    def most_tokens(self) -> int:
        return self.max_len or self.context_len

    @property
    def silent_len(self) -> int:
        return self.default_len or self.context_len

    @property
    def has_tokenizer(self) -> bool:
        return self.tokenizer_file is not None

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None
