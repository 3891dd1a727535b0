"""Prompts that were cut inside a word, healed as the library heals them."""

import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from beamhouse.engine.text.tokenizer import Text
from tests.engine.text.tiny_tokenizers import FAMILIES, SPECIAL, byte_level

PROMPTS = [
    "The link is http", "the same ", "there, wa", "a.", "x", "bear", "  lit", "They've", "price?", "h", "!",
    "Once upon a ti", "a time, the", "Größ", "a  b", "東", "two words é", "was <tool>", "",
]  # fmt: skip


def model_for(tokenizer: Tokenizer, eos: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, bos_token_id=None, eos_token_id=eos, pad_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def one_token(model: LlamaForCausalLM, prompt_ids: list[int], bias: list[tuple[list[int], float]]) -> list[int]:
    inputs = torch.tensor([prompt_ids])
    pairs = [[list(ids), value] for ids, value in bias]
    options = {"do_sample": False, "max_new_tokens": 1, "attention_mask": torch.ones_like(inputs)}
    return model.generate(inputs, sequence_bias=pairs, **options)[0, -1:].tolist()


SAME_END = {**SPECIAL, "pad_token": "</s>"}


@pytest.mark.parametrize("special", [SPECIAL, SAME_END], ids=["pad", "pad_is_eos"])
@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_healed_prompts_equal_the_library(name: str, starts: bool, special: dict[str, str]):
    tokenizer = FAMILIES[name]()
    if not starts:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    text = Text(tokenizer, None, special)
    model = model_for(tokenizer, library.eos_token_id)
    num_healed = 0
    for prompt in PROMPTS:
        prompt_ids = library(prompt).input_ids or [library.bos_token_id]
        healing = text.heal(prompt_ids)
        try:
            expected = model.heal_tokens(torch.tensor([prompt_ids]), library)[0].tolist()
        except KeyError:
            assert len(healing.sequence_bias) != 1
            continue
        if not healing.sequence_bias:
            assert healing.kept_ids == expected
            continue
        num_healed += 1
        healed = one_token(model, healing.prompt_ids, healing.sequence_bias)
        assert healing.kept_ids + healed == expected
    assert num_healed > 2


def test_the_original_token_is_favoured_by_one():
    tokenizer = byte_level()
    text = Text(tokenizer, None, SPECIAL)
    prompt_ids = text.encode(["a (t"])[0]
    healing = text.heal(prompt_ids)
    bias = {ids[0]: value for ids, value in healing.sequence_bias}
    assert bias.pop(prompt_ids[-1]) == 11.0
    assert set(bias.values()) == {10.0}
    assert all(tokenizer.id_to_token(n).startswith(tokenizer.id_to_token(prompt_ids[-1])) for n in bias)
    assert healing.kept_ids == [tokenizer.token_to_id("<pad>"), *prompt_ids[1:-1]]
    assert healing.prompt_ids == prompt_ids[1:-1]


def test_a_word_with_a_leading_space_is_healed_where_the_library_fails():
    tokenizer = FAMILIES["llama2"]()
    text = Text(tokenizer, None, SPECIAL)
    prompt_ids = text.encode(["bear t"])[0]
    assert tokenizer.id_to_token(prompt_ids[-1]) == "▁t"
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    model = model_for(tokenizer, library.eos_token_id)
    with pytest.raises(KeyError):
        model.heal_tokens(torch.tensor([prompt_ids]), library)
    healing = text.heal(prompt_ids)
    candidates = {tokenizer.id_to_token(ids[0]) for ids, _ in healing.sequence_bias}
    assert {"▁t", "▁the", "▁there"} <= candidates
    assert all(token.startswith("▁t") for token in candidates)


def test_without_start_and_padding_tokens_nothing_is_replaced():
    tokenizer = byte_level()
    text = Text(tokenizer, None, {})
    prompt_ids = text.encode(["a (t"])[0]
    healing = text.heal(prompt_ids)
    assert healing.prompt_ids == healing.kept_ids == prompt_ids[:-1]
