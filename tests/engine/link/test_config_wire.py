"""A resolved configuration arrives in the engine as it left."""

import pytest
from hypothesis import given

from beamhouse.engine.link.config_wire import said
from beamhouse.engine.link.messages import Submission, decode_inbound, encode
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve
from beamhouse.schemas.generation.resolved import SILENT, Resolved
from tests.configs import running
from tests.schemas.generation.strategies import configs

PHRASES = [[3, 4], [5]]
SYNTHID = {"ngram_len": 5, "keys": [2**63 - 1, 7], "sampling_table_size": 9}


def arrived(config: Resolved) -> Resolved:
    return decode_inbound(encode(Submission("a", [1], config))).config


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do_sample": True, "temperature": 0.5, "top_k": 0, "num_return_sequences": 3, "max_time": 1.5},
        {"eos_token_id": [2, 7], "forced_eos_token_id": 2, "stop_strings": ["a", "b"], "early_stopping": "never"},
        {"sequence_bias": [[[1, 2], 0.5], [[3], -1.0]], "exponential_decay_length_penalty": [3, 1.25]},
        {"forced_decoder_ids": [[1, None], [2, 5]], "generation_kwargs": {"a": [1, {"b": None}]}},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "guidance_scale": 2.0},
        {"num_beams": 2, "force_words_ids": [[3], PHRASES], "bad_words_ids": PHRASES, "suppress_tokens": [9]},
        {
            "num_beams": 2,
            "constraints": [
                {"type": "phrasal", "token_ids": [3]},
                {"type": "disjunctive", "nested_token_ids": PHRASES},
                {"type": "ordered", "phrases": PHRASES},
            ],
        },
        {"watermarking_config": {"seeding_scheme": "selfhash", "context_width": 3}},
        {"watermarking_config": SYNTHID, "do_sample": True},
        {"watermarking_config": "house"},
        {"cache_implementation": "quantized", "cache_config": {"nbits": 4}, "compile_config": {"options": {"a": 1}}},
        {"dola_layers": [0, 2]},
        {"dola_layers": "low"},
    ],
)
def test_every_value_arrives_with_its_type(fields):
    config = running(fields)
    assert repr(arrived(config)) == repr(config)
    assert arrived(config) == config


@given(configs())
def test_whatever_is_asked_arrives(values):
    config = resolve(GenerationConfig(**values), GenerationConfig(), prompt_len=3, context_len=None)
    assert repr(arrived(config)) == repr(config)


def test_the_mode_and_the_draft_model_arrive():
    config = running({}, assistant_model="small")
    assert repr(arrived(config)) == repr(config)


def test_only_what_differs_from_the_defaults_travels():
    assert said(SILENT) == {}
    config = running({"max_length": 9, "do_sample": True, "top_k": 50, "eos_token_id": 2})
    named = {"max_length": 9, "do_sample": True, "eos_token_id": 2}
    assert said(config) == named | {"mode": "sample", "eos_token_ids": (2,)}


def test_values_are_not_checked_again():
    assert arrived(SILENT.changed({"temperature": -3.0})).temperature == -3.0
