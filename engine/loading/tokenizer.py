"""The tokenizer as one file that needs no torch, for the process that tokenises; slow ones are converted once."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS, convert_slow_tokenizer

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.schemas.model_info import TokenizerSwitches

FORMS = ("tokenizer*.json", "*.model", "vocab.*", "tekken.json", "*.tiktoken")
"""What a tokenizer is stored as; a model with none of it takes token ids alone."""

PROBES = ("Once upon a time, 3 bears.", "  na\u00efve caf\u00e9\n\n\tdef f(x):", "\u4e2d\u6587 \U0001f600 I'm", "")
"""Texts on which a converted tokenizer must agree with the one it was made of."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """file: a `tokenizer.json`, None for a model without one. special_tokens: bos_token, eos_token, ... as text."""

    file: str | None
    chat_template: str | None
    special_tokens: dict[str, str]
    switches: TokenizerSwitches


def load_tokenizer(path: Path, work: Path) -> TokenizerFiles:
    """Read the tokenizer beside a model and write it into `work` in the form `tokenizers` reads.

    Raises ModelUnsupported, with a reason of one line.
    """
    if not any(file.is_file() for form in FORMS for file in path.glob(form)):
        return TokenizerFiles(None, None, {}, TokenizerSwitches())
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, use_fast=True)
    except Exception as error:  # a broken tokenizer file raises what its parser raises
        raise ModelUnsupported(f"the tokenizer in {path} cannot be loaded: {_first_line(error)}") from error
    is_fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    backend = tokenizer.backend_tokenizer if is_fast else converted(tokenizer)
    file = work / "tokenizer.json"
    backend.save(str(file))
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        templates = {"default": templates}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    switches = _switches(tokenizer, backend, templates.get("tool_use"))
    return TokenizerFiles(str(file), templates.get("default"), special, switches)


def converted(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A tokenizer in Python as one of `tokenizers`, where the library has a converter that gives the same ids.

    The library looks converters up by the name of the class, under which former classes go on as `...Legacy`.
    """
    name = type(tokenizer).__name__
    try:
        known = SLOW_TO_FAST_CONVERTERS.get(name.removesuffix("Legacy"))
        backend = convert_slow_tokenizer(tokenizer) if known is None else known(tokenizer).converted()
        for token_id, token in sorted(tokenizer.added_tokens_decoder.items()):
            add = backend.add_special_tokens if token.special else backend.add_tokens
            if backend.token_to_id(token.content) == token_id:
                add([token])
    except Exception as error:  # a converter raises whatever it meets
        reason = f"the library has no converter of {name} to the form that is served"
        raise ModelUnsupported(f"a tokenizer in Python alone: {reason}") from error
    for probe in PROBES:
        if backend.encode(probe).ids != tokenizer(probe).input_ids:
            raise ModelUnsupported(f"a tokenizer in Python alone: converted, {name} gives other ids for {probe!r}")
    return backend


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _switches(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer, tool_template: str | None) -> TokenizerSwitches:
    """The library leaves the spaces of BPE tokenizers alone, unless it is told twice."""
    is_bpe = isinstance(backend.model, BPE)
    is_forced = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return TokenizerSwitches(
        clean_up=bool(tokenizer.clean_up_tokenization_spaces and (is_forced or not is_bpe)),
        splits_special=bool(tokenizer.split_special_tokens),
        control_tokens=None if tokenizer.chat_control_tokens is None else list(tokenizer.chat_control_tokens),
        tool_template=tool_template,
    )
