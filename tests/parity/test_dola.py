"""DoLa: the tokens and scores of a plain implementation, alone and in company, and which layers it looks at."""

from typing import Any

import pytest

from beamhouse.engine.decoding.dola import candidate_layers
from beamhouse.engine.decoding.strategy import ModelFacts
from beamhouse.engine.link.errors import InvalidRequest
from tests.parity.against_plain import NEGATIVE, NUM_NEW, asked, assert_crowd_gets_the_same, assert_same, small_engine
from tests.parity.models import FAMILIES, reference
from tests.parity.plain.dola import dola
from tests.parity.plain.task import Found, Task
from tests.parity.running import alone, engine_of, prompt, run

SEVERAL_ENDS = {"eos_token_id": [2, *range(17, 60)]}
# The layers the words stand for, by the number of layers and whether embeddings are tied.
LOW = {(2, False): [0], (2, True): [1], (4, True): [2]}
HIGH = {2: [1], 4: [2]}
CASES: dict[str, dict[str, Any]] = {
    "low": {"dola_layers": "low"},
    "high": {"dola_layers": "high"} | SEVERAL_ENDS,
    "two layers": {"dola_layers": [1, 0]},
    "processors": {
        "dola_layers": [0, 1], "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 6,
    } | SEVERAL_ENDS,
    "sampled": {"dola_layers": [0, 1], "do_sample": True, "temperature": 1.4, "top_k": 30},
    "three sampled": {
        "dola_layers": [0, 1], "do_sample": True, "num_return_sequences": 3, "top_k": 0,
    } | SEVERAL_ENDS,
    "guided": {"dola_layers": [0, 1], "guidance_scale": 1.5},
}  # fmt: skip


def expected_of(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int) -> list[Found]:
    config = reference(family).config
    num_layers, layers = config.num_hidden_layers, fields["dola_layers"]
    if not isinstance(layers, list):
        layers = LOW[num_layers, bool(config.tie_word_embeddings)] if layers == "low" else HIGH[num_layers]
    return dola(Task(family, prompt_ids, {"top_k": 50} | fields, NUM_NEW, NEGATIVE), layers, seed)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_alone_equals_a_plain_implementation(family: str, case: str) -> None:
    for seed, length in ((1, 1), (2, 5), (3, 37)):
        prompt_ids = prompt(seed, length, family)
        fields = CASES[case] | {"output_scores": True, "output_logits": True}
        answer = alone(engine_of(family), asked(family, prompt_ids, fields, seed))
        assert_same(answer, expected_of(family, prompt_ids, CASES[case], seed))
        assert engine_of(family).cache.num_used == 0


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_in_company_with_chunked_prompts_and_too_few_blocks_equals_a_plain_implementation(family: str) -> None:
    engine = small_engine(family, max_rows=24, step_tokens=24, block_size=4, cache_tokens=4 * 44)
    assert_crowd_gets_the_same(family, engine, CASES, expected_of)


def test_layers_that_differ_between_requests_do_not_mix() -> None:
    prompt_ids = prompt(2, 9, "llama")
    layers: list[Any] = ["low", "high", [0, 1], [1], [1, 1], [0]]
    asks = [asked("llama", prompt_ids, {"dola_layers": one}, 0) for one in layers]
    answers = run(engine_of("llama"), {0: asks})
    for ask, one in zip(asks, layers, strict=True):
        expected = expected_of("llama", prompt_ids, {"dola_layers": one}, 0)
        assert answers[ask.request_id].sequences == [expected[0].token_ids]


@pytest.mark.parametrize(
    ("num_layers", "is_tied", "asked", "layers"),
    [
        (1, False, "low", [0]),
        (1, True, "low", [0]),
        (1, True, "high", [0]),
        (2, True, "low", [1]),
        (5, True, "low", [2]),
        (8, False, "low", [0, 2]),
        (8, True, "low", [2]),
        (12, True, "low", [2, 4]),
        (12, True, "high", [6, 8, 10]),
        (40, False, "low", list(range(0, 20, 2))),
        (40, False, "high", list(range(20, 40, 2))),
        (60, True, "low", list(range(2, 20, 2))),
        (61, False, "high", list(range(41, 61, 2))),
    ],
)
def test_words_stand_for_layers_as_in_the_library(num_layers: int, is_tied: bool, asked: Any, layers: Any) -> None:
    assert candidate_layers(asked, ModelFacts(num_layers, is_tied)) == tuple(layers)


def test_a_layer_that_is_named_twice_is_one_candidate() -> None:
    assert candidate_layers([3, 0, 3], ModelFacts(4, has_tied_embeddings=False)) == (3, 0)


def test_low_is_refused_where_there_is_no_low_layer() -> None:
    with pytest.raises(InvalidRequest, match="dola_layers is low; a model of 3 layers"):
        candidate_layers("low", ModelFacts(3, has_tied_embeddings=True))
