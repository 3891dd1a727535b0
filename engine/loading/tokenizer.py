"""The tokenizer as one file that needs no torch, for the process that tokenises; slow ones are converted once."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.errors import ModelUnsupported


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """file: a `tokenizer.json`, None for a model without one. special_tokens: bos_token, eos_token, ... as text."""

    file: str | None
    chat_template: str | None
    special_tokens: dict[str, str]
    clean_up: bool


def load_tokenizer(path: Path, work: Path) -> TokenizerFiles:
    """Read the tokenizer beside a model and write it into `work` in the form `tokenizers` reads."""
    known = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
    if not any((path / name).is_file() for name in known):
        return TokenizerFiles(None, None, {}, False)
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
    return TokenizerFiles(str(file), template, special, bool(tokenizer.clean_up_tokenization_spaces))
