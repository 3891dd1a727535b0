"""The models that ship with the package are what the documentation says."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from beamhouse.engine import builtin

HERE = Path(builtin.__file__).parent
STORY = (
    "Once upon a time, there was a little dog named Max. Max loved to play with his red ball. One day, the ball rolled"
    ' into the river. Max was sad. A kind duck saw him and said, "Do not cry, I will help you." The duck swam to the'
    " ball and pushed it back with her beak. Max was so happy. They played together all day and became good friends."
)


@pytest.mark.parametrize(("size", "least", "most"), [("model", 3e6, 12e6), ("draft", 0, 1e6)])
def test_sizes(size: str, least: float, most: float) -> None:
    model = AutoModelForCausalLM.from_pretrained(HERE / size)
    assert least <= model.num_parameters() <= most
    assert model.dtype == torch.float32
    with safe_open(HERE / size / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118  # no dict


def test_both_together_stay_small() -> None:
    assert sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file()) <= 30e6


def test_the_draft_shares_the_tokenizer() -> None:
    model, draft = ((HERE / size / "tokenizer.json").read_bytes() for size in ("model", "draft"))
    assert model == draft


@pytest.mark.parametrize(("size", "most"), [("model", 2.6), ("draft", 3.3)])
def test_an_unseen_story_is_likely(size: str, most: float) -> None:
    token_ids = AutoTokenizer.from_pretrained(HERE / size)(STORY, return_tensors="pt").input_ids
    with torch.inference_mode():
        loss = AutoModelForCausalLM.from_pretrained(HERE / size)(token_ids, labels=token_ids).loss
    assert float(loss) < most


def test_a_conversation_becomes_a_prompt() -> None:
    tokenizer = AutoTokenizer.from_pretrained(HERE / "model")
    messages = [{"role": "user", "content": "Tell me of a fox."}, {"role": "assistant", "content": "There was"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<|startoftext|>Tell me of a fox.\nThere was"
