"""What a request may cost is known before it runs, refused by the field that costs most, and leaves room for use."""

from dataclasses import replace

import pytest

from beamhouse.config.settings import Settings
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Asked, Budget, Facts, Prompt
from beamhouse.schemas.judge.budget import answer_charges, find_expenses, tensor_bytes
from beamhouse.server.service import budget_of
from tests.configs import running
from tests.fakes import fake_info

TINY = Facts(fake_info(None, max_rows=64), Budget(1, 1, 1, 1), GenerationConfig())


@pytest.fixture(scope="module")
def facts() -> Facts:
    """A model of a usual size behind a server with its own limits."""
    info = fake_info(None, vocab_size=128_256, max_rows=64, num_layers=28, hidden_size=2048, num_heads=16)
    return Facts(info, budget_of(Settings()), GenerationConfig())


def ask(prompt_lens: list[int] | None = None, config: dict | None = None, **body) -> Asked:
    lens = prompt_lens or [16]
    num_new = (config or {}).get("max_new_tokens", 20)
    configs = [
        running({**(config or {}), "max_length": length + num_new}, body.get("assistant_model")) for length in lens
    ]
    prompts = [Prompt([], "inputs", num_unknown=length) for length in lens]
    return Asked(GenerateRequest.model_validate(body), GenerationConfig(), configs, prompts)


def refused(asked: Asked, facts: Facts) -> list[str]:
    return [problem.field.removeprefix("generation_config.") for problem in find_expenses(asked, facts)]


def test_likeliest_tokens_of_prompts_are_bytes_of_the_answer(facts: Facts):
    everything = {"prompt_top_n_tokens": 100}
    assert refused(ask([2000], outputs=everything), facts) == []
    assert refused(ask([4000] * 200, outputs=everything), facts) == ["outputs.prompt_top_n_tokens"]
    assert refused(ask([4000] * 20, outputs={"prompt_top_n_tokens": 1}), facts) == []


PHRASES = [[token, token + 1] for token in range(1000)]
SELFHASH = {"seeding_scheme": "selfhash"}
LONG = {"max_new_tokens": 4096}


@pytest.mark.parametrize(
    ("config", "body"),
    [
        (LONG | {"num_return_sequences": 64, "do_sample": True}, {"stream": True}),
        (LONG, {"outputs": {"top_n_tokens": 20, "transition_scores": True}, "stream": True}),
        (
            {"num_beams": 64, "max_new_tokens": 512, "num_return_sequences": 64},
            {"outputs": {"transition_scores": True}},
        ),
        ({"num_beams": 8, "max_new_tokens": 400}, {"stream": True, "outputs": {"progress": True}}),
        ({"bad_words_ids": PHRASES}, {}),
        ({"bad_words_ids": [[token] for token in range(16_000)]}, {}),
        ({"num_beams": 8, "force_words_ids": [PHRASES]}, {}),
        ({"num_beams": 64, "force_words_ids": PHRASES[:100]}, {}),
        ({"num_beams": 16, "eos_token_id": list(range(20))}, {}),
        ({"eos_token_id": list(range(1000))}, {}),
        ({"suppress_tokens": list(range(100_000))}, {}),
        ({"do_sample": True, "watermarking_config": {"ngram_len": 5, "keys": list(range(30))}}, {}),
        ({"watermarking_config": SELFHASH, "num_beams": 16}, {}),
        ({"num_beams": 16}, {"logits_processor": [{"name": "a"}, {"name": "b"}]}),
    ],
)
def test_what_people_do_with_generate_is_allowed(config, body, facts):
    assert refused(ask(config=config, **body), facts) == []


@pytest.mark.parametrize(
    ("field", "config", "body"),
    [
        ("outputs.top_n_tokens", LONG | {"num_return_sequences": 64}, {"outputs": {"top_n_tokens": 100}}),
        ("outputs.progress", {"num_beams": 64, "max_new_tokens": 4000}, {"outputs": {"progress": True}}),
        ("num_return_sequences", {"num_return_sequences": 64, "max_new_tokens": 10_000}, {"stream": True}),
        ("max_new_tokens", {"max_new_tokens": 3_000_000}, {}),
        ("force_words_ids", {"num_beams": 64, "force_words_ids": [PHRASES * 14]}, {}),
        ("eos_token_id", {"num_beams": 64, "eos_token_id": list(range(1000))}, {}),
        ("force_words_ids", {"num_beams": 64, "stop_strings": ["a"], "force_words_ids": [PHRASES]}, {}),
        ("bad_words_ids", {"bad_words_ids": [[1] * length for length in range(1, 1001)]}, {}),
        ("sequence_bias", {"sequence_bias": [([1, 2] * 500, 1.0)] * 1000}, {}),
        ("logits_processor", {"num_beams": 64}, {"logits_processor": [{"name": "block_characters"}] * 16}),
        ("watermarking_config.keys", {"num_beams": 64, "watermarking_config": {"ngram_len": 2, "keys": [1] * 64}}, {}),
        ("watermarking_config.seeding_scheme", {"num_beams": 64, "watermarking_config": SELFHASH}, {}),
        ("dola_layers", {"num_return_sequences": 64, "dola_layers": list(range(28))}, {}),
        ("output_attentions", {"output_attentions": True, "max_new_tokens": 1000}, {}),
    ],
)  # fmt: skip
def test_a_product_of_what_is_asked_is_refused_by_the_field_that_costs_most(field, config, body, facts):
    assert field in refused(ask(config=config, **body), facts)


def test_a_refusal_names_the_number_that_would_do(facts):
    config = {"max_new_tokens": 1000, "num_return_sequences": 8}
    (problem,) = find_expenses(ask(config=config, outputs={"top_n_tokens": 100}), facts)
    assert "top_n_tokens asks for up to 57600000 bytes of answer and events" in problem.message
    assert "allowed: at most 33554432, which is 58 instead of 100 here" in problem.message
    assert refused(ask(config=config, outputs={"top_n_tokens": 58}), facts) == []
    assert refused(ask(config=config, outputs={"top_n_tokens": 59}), facts) == ["outputs.top_n_tokens"]


def test_all_prompts_count_together(facts):
    one = ask([8], {"max_new_tokens": 4000}, outputs={"top_n_tokens": 100})
    assert refused(one, facts) == []
    assert refused(replace(one, configs=[*one.configs] * 2, prompts=[*one.prompts] * 2), facts) == [
        "outputs.top_n_tokens"
    ]


def test_a_stream_says_everything_twice():
    def cost(**body) -> float:
        asked = ask(config={"max_new_tokens": 10}, outputs={"top_n_tokens": 5}, **body)
        return next(charge.cost for charge in answer_charges(asked) if charge.field == "outputs.top_n_tokens")

    assert cost(stream=True) == 2 * cost()


def tensor_sizes(prompt_len: int, config: dict, **outputs) -> dict[str, int]:
    asked = ask([prompt_len], outputs={"tensors": "safetensors", **outputs})
    return tensor_bytes(replace(asked, configs=[running(config)]), TINY)


def test_predictions_count_what_the_library_returns():
    config = {"max_length": 7, "output_hidden_states": True, "output_attentions": True, "num_return_sequences": 2}
    sizes = tensor_sizes(4, config)
    # Three steps feed 4, 1 and 1 tokens; the model has 2 layers, 2 heads, a width of 16.
    assert sizes["output_hidden_states"] == 3 * 2 * (4 + 1 + 1) * 16 * 4
    assert sizes["output_attentions"] == 2 * 2 * 2 * (4 * 4 + 1 * 5 + 1 * 6) * 4
    chosen = tensor_sizes(4, config, positions=[2, 9], layers=[-1])
    assert chosen["output_hidden_states"] == 1 * 2 * 1 * 16 * 4
    assert chosen["output_attentions"] == 1 * 2 * 2 * 6 * 4


def test_a_beam_search_returns_scores_of_all_beams_and_states_of_the_returned_sequences():
    fields = {"max_length": 5, "num_beams": 4, "num_return_sequences": 2}
    sizes = tensor_sizes(4, fields | {"output_scores": True, "output_logits": True, "output_hidden_states": True})
    assert sizes["output_scores"] == sizes["output_logits"] == 1 * 4 * 256 * 4
    assert sizes["output_hidden_states"] == 3 * 2 * 4 * 16 * 4
