"""What a request asks that this model or this server cannot do; everything is found before anything is computed."""

from collections.abc import Iterable, Iterator

from beamhouse.schemas.beamhouse.generate import GenerateRequest, Outputs, PrefixAllowedTokens
from beamhouse.schemas.generation.config import GenerationConfig, is_neutral
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.mode_checks import check_mode, check_negative, check_progress, check_rows
from beamhouse.server.asking.prompts import Prompt
from beamhouse.server.asking.watermark_checks import check_watermark
from beamhouse.server.service import Model

TENSOR_FIELDS = ("output_scores", "output_logits", "output_hidden_states", "output_attentions")


def check_request(
    body: GenerateRequest, asked: GenerationConfig, configs: list[Resolved], prompts: list[Prompt], model: Model
) -> Iterator[Problem]:
    """Problems of a whole request. asked: the request's own configuration; configs: the resolved one of each prompt."""
    info = model.info
    unsupported = list(check_supported(asked, info))
    yield from unsupported
    yield from check_mode(body.mode, configs[0], info, is_explained=bool(unsupported))
    yield from check_rows(configs[0], info)
    for config, prompt in zip(configs, prompts, strict=True):
        yield from check_negative(config, prompt, info)
    yield from check_assistant(body.assistant_model, info)
    yield from check_prompt_ids(prompts, info.vocab_size)
    if body.prefix_allowed_tokens is not None:
        yield from check_constraint(body.prefix_allowed_tokens, model)
    yield from check_names("logits_processor", [item.name for item in body.logits_processor or []], info)
    yield from check_names("stopping_criteria", [item.name for item in body.stopping_criteria or []], info)
    yield from check_outputs(body, configs[0], info)
    yield from check_progress(body, configs[0])
    yield from check_watermark(asked, model, bool((body.outputs or Outputs()).watermark_flags))
    if configs[0].token_healing and model.text is None:
        yield Problem("generation_config.token_healing", ProblemCode.NO_TOKENIZER, "token_healing needs a tokenizer")


def check_supported(asked: GenerationConfig, info: ModelInfo) -> Iterator[Problem]:
    for name, value in asked.set_fields().items():
        if name in info.not_obeyed and not is_neutral(name, value):
            message = f"{name} is not supported: {info.not_obeyed[name]}"
            yield Problem(f"generation_config.{name}", ProblemCode.NOT_SUPPORTED, message)


def inherited_warnings(asked: GenerationConfig, model: Model) -> list[str]:
    """Fields of the model's own file that are not obeyed and that the request did not set."""
    not_obeyed, asked_fields = model.info.not_obeyed, asked.set_fields()
    return [
        f"{name} of the model's generation_config.json has no effect: {not_obeyed[name]}"
        for name, value in model.config.set_fields().items()
        if name in not_obeyed and name not in asked_fields and not is_neutral(name, value)
    ]


def length_warnings(configs: Iterable[Resolved], info: ModelInfo) -> list[str]:
    """That sequences may go where the model was never trained."""
    longest = max(config.max_length for config in configs)
    if longest <= info.context_len:
        return []
    return [f"a sequence may come to {longest} tokens, and the model is made for {info.context_len}"]


def check_prompt_ids(prompts: Iterable[Prompt], vocab_size: int) -> Iterator[Problem]:
    for prompt in prompts:
        yield from check_ids(prompt.token_ids, prompt.field, vocab_size)


def check_ids(token_ids: list[int], field: str, vocab_size: int) -> Iterator[Problem]:
    """A problem for the first id outside the vocabulary."""
    if token_ids and max(token_ids) >= vocab_size:
        position = next(index for index, token_id in enumerate(token_ids) if token_id >= vocab_size)
        message = f"{field}[{position}] is {token_ids[position]}; allowed: 0 <= id < {vocab_size}"
        yield Problem(f"{field}.{position}", ProblemCode.OUT_OF_RANGE, message)


def check_constraint(constraint: PrefixAllowedTokens, model: Model) -> Iterator[Problem]:
    info, field = model.info, "prefix_allowed_tokens"
    yield from check_ids(constraint.token_ids or [], f"{field}.token_ids", info.vocab_size)
    for index, sequence in enumerate(constraint.sequences or []):
        yield from check_ids(sequence, f"{field}.sequences.{index}", info.vocab_size)
        if not sequence:
            yield Problem(
                f"{field}.sequences.{index}", ProblemCode.EMPTY, "a sequence has no tokens; at least one is needed"
            )
    if constraint.trie is not None and constraint.trie not in info.tries:
        yield unknown_name(f"{field}.trie", constraint.trie, info.tries)
    texts = (constraint.regex, constraint.json_schema, constraint.grammar)
    if model.text is None and any(text is not None for text in texts):
        yield Problem(
            field, ProblemCode.NO_TOKENIZER, "this model has no tokenizer; constrain it by token_ids or sequences"
        )


def check_assistant(name: str | None, info: ModelInfo) -> Iterator[Problem]:
    if name is not None and name not in info.assistants:
        yield unknown_name("assistant_model", name, sorted(info.assistants))


def check_names(field: str, names: list[str], info: ModelInfo) -> Iterator[Problem]:
    known = info.logits_processors if field == "logits_processor" else info.stopping_criteria
    for index, name in enumerate(names):
        if name not in known:
            yield unknown_name(f"{field}.{index}.name", name, known)


def unknown_name(field: str, name: str, known: list[str]) -> Problem:
    shown = ", ".join(known[:10]) or "none"
    return Problem(field, ProblemCode.UNKNOWN_NAME, f"{name[:64]} is not registered on this server; known: {shown}")


def check_outputs(body: GenerateRequest, config: Resolved, info: ModelInfo) -> Iterator[Problem]:
    outputs = body.outputs or Outputs()
    if (outputs.top_n_tokens or 0) > info.vocab_size:
        message = f"top_n_tokens is {outputs.top_n_tokens}; allowed: at most {info.vocab_size}"
        yield Problem("outputs.top_n_tokens", ProblemCode.OUT_OF_RANGE, message)
    if outputs.tensors == "safetensors" and body.stream:
        message = "a safetensors file cannot travel in an event stream; ask for json or base64, or do not stream"
        yield Problem("outputs.tensors", ProblemCode.CONFLICT, message)
    most = info.num_layers if config.output_attentions and not config.output_hidden_states else info.num_layers + 1
    for index, layer in enumerate(outputs.layers or []):
        if not -most <= layer < most:
            message = f"layers[{index}] is {layer}; allowed: {-most} <= layer < {most}"
            yield Problem(f"outputs.layers.{index}", ProblemCode.OUT_OF_RANGE, message)
