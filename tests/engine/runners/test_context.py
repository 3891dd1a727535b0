"""How long sequences may be: what generate() answers is answered, and tables of positions have an end."""

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTJConfig, LlamaConfig, OPTConfig, PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.build import Extensions, assemble, num_blocks_for
from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.runners.context import end_of, made_for, num_positions
from tests.configs import running
from tests.parity.models import TRAINED, VOCAB_SIZE, served
from tests.parity.running import SETTINGS, alone, generate, prompt, submission

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def model_of(config: object) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config).eval()


def llama(**scale: object) -> PreTrainedModel:
    parameters = {"rope_theta": 10000.0, "rope_type": "default"} | scale
    return model_of(LlamaConfig(**SIZES, vocab_size=50, max_position_embeddings=64, rope_parameters=parameters))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ({}, 64),
        ({"rope_type": "linear", "factor": 2.0}, 128),
        ({"rope_type": "dynamic", "factor": 4.0}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, 64),
    ],
    ids=str,
)
def test_a_scale_says_how_far_positions_are_stretched_and_nothing_ends_there(
    scale: dict[str, object], expected: int
) -> None:
    model = llama(**scale)
    assert (num_positions(model), made_for(model), end_of(model)) == (64, expected, None)


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=64, vocab_size=50),
        GPTJConfig(n_embd=32, n_layer=1, n_head=2, n_positions=64, vocab_size=50, rotary_dim=8),
        OPTConfig(
            hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=64, vocab_size=50,
        ),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_a_table_of_positions_has_an_end_where_the_library_fails(config: object) -> None:
    model = model_of(config)
    assert end_of(model) == 64
    model(torch.zeros(1, 64, dtype=torch.int64))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.zeros(1, 65, dtype=torch.int64))


def engine_with(model: PreTrainedModel, **settings: object) -> Engine:
    changed = EngineSettings(**(SETTINGS.model_dump() | settings))
    runner, engine = assemble(model, changed, Extensions(Registry({}, {}), {}))
    runner.check()
    return engine


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("family", ["llama, linear", "llama, yarn", "llama, dynamic"])
def test_answers_go_on_far_beyond_the_positions_of_the_configuration(family: str, kernels: str) -> None:
    prompt_ids = prompt(5, TRAINED // 2, family)
    fields = {"max_new_tokens": 12 * TRAINED, "min_new_tokens": 12 * TRAINED}
    answer = alone(engine_with(served(family), kernels=kernels), submission(family, prompt_ids, fields))
    assert answer.sequences == generate(family, prompt_ids, fields).token_ids


def test_a_cache_of_one_full_sequence_scores_one() -> None:
    model = model_of(GPT2Config(n_embd=64, n_layer=1, n_head=2, n_positions=48, vocab_size=VOCAB_SIZE))
    token_ids = [3 + (7 * place) % 150 for place in range(48)]
    with torch.inference_mode():
        rows = model(torch.tensor([token_ids])).logits[0].log_softmax(-1)
    expected = [float(rows[place, token]) for place, token in enumerate(token_ids[1:])]
    one = Submission("score", token_ids, running({"max_length": 49}), wanted=Wanted(prompt_logprobs=True))
    answer = alone(engine_with(model, cache_tokens=48), one)
    assert answer.finished is not None
    assert answer.finished.error is None
    assert answer.finished.prompt_logprobs[1:] == pytest.approx(expected, abs=1e-5)


def test_the_cache_has_room_for_sequences_of_stretched_length() -> None:
    settings = SETTINGS.model_copy(update={"cache_tokens": 0, "max_rows": 2})
    assert num_blocks_for(llama(rope_type="dynamic", factor=4.0), settings) == 2 * 256 // SETTINGS.block_size
