"""The same answers on a GPU: run with `pytest -m gpu` where there is one."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig as LibraryConfig

from engine.build import Extensions, assemble
from engine.logits.registry import Registry
from tests.parity.models import served
from tests.parity.running import SETTINGS, run, submission

pytestmark = pytest.mark.gpu

CASES: list[dict[str, Any]] = [
    {"max_new_tokens": 20},
    {"max_new_tokens": 20, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 20, "do_sample": True, "top_p": 0.9},
    {"max_new_tokens": 20, "do_sample": True, "top_k": 0, "num_return_sequences": 3},
]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral"])
def test_a_mixed_batch_equals_generate_on_the_same_device(family: str) -> None:
    device = torch.device("cuda")
    model = served(family).to(device)
    _, engine = assemble(served(family).to(device), SETTINGS, Extensions(Registry({}, {}), {}))
    arrivals, expected = {}, {}
    for number in range(16):
        fields = CASES[number % len(CASES)] | {"eos_token_id": 3}
        prompt_ids = torch.randint(4, 150, (1 + 5 * number,), generator=torch.Generator().manual_seed(number)).tolist()
        torch.manual_seed(number)
        with torch.inference_mode():
            out = model.generate(torch.tensor([prompt_ids], device=device), generation_config=LibraryConfig(**fields))
        one = submission(family, prompt_ids, fields, seed=number)
        arrivals[number] = [one]
        expected[one.request_id] = out[:, len(prompt_ids) :].tolist()
    for name, answer in run(engine, arrivals).items():
        for row, token_ids in zip(expected[name], answer.sequences, strict=True):
            assert row[: len(token_ids)] == token_ids
            assert set(row[len(token_ids) :]) <= {0}
