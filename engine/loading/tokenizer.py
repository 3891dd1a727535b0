"""The tokenizer as one file that needs no torch, for the process that tokenises; slow ones are converted once."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.errors import ModelUnsupported
from engine.messages import TokenizerSwitches


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """file: a `tokenizer.json`, None for a model without one. special_tokens: bos_token, eos_token, ... as text."""

    file: str | None
    chat_template: str | None
    special_tokens: dict[str, str]
    switches: TokenizerSwitches


def load_tokenizer(path: Path, work: Path) -> TokenizerFiles:
    """Read the tokenizer beside a model and write it into `work` in the form `tokenizers` reads."""
    known = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
    if not any((path / name).is_file() for name in known):
        return TokenizerFiles(None, None, {}, TokenizerSwitches())
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, use_fast=True)
    except Exception as error:  # a broken tokenizer file raises what its parser raises
        raise ModelUnsupported(f"the tokenizer in {path} cannot be loaded: {error}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelUnsupported(f"{type(tokenizer).__name__} cannot be converted to the tokenizers library")
    file = work / "tokenizer.json"
    tokenizer.backend_tokenizer.save(str(file))
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return TokenizerFiles(str(file), template, special, _switches(tokenizer))


def _switches(tokenizer: PreTrainedTokenizerFast) -> TokenizerSwitches:
    """The library leaves the spaces of BPE tokenizers alone, unless it is told twice."""
    is_bpe = isinstance(tokenizer.backend_tokenizer.model, BPE)
    is_forced = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return TokenizerSwitches(
        clean_up=bool(tokenizer.clean_up_tokenization_spaces and (is_forced or not is_bpe)),
        splits_special=bool(tokenizer.split_special_tokens),
        control_tokens=None if tokenizer.chat_control_tokens is None else list(tokenizer.chat_control_tokens),
    )
