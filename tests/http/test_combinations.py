"""Fields of all modes thrown together: an answer or a refusal that names its fields, never a fault of the server."""

from random import Random

import pytest

from tests.fakes import count_up, search

pytestmark = pytest.mark.anyio

CONFIG = {
    "num_beams": [1, 2, 4, 7],
    "num_beam_groups": [1, 2, 3],
    "diversity_penalty": [0.0, 0.5],
    "do_sample": [True, False],
    "num_return_sequences": [1, 2, 5],
    "force_words_ids": [[[5]], [[[5], [6]]], [[300]]],
    "constraints": [
        [{"type": "ordered", "phrases": [[1], [2]]}],
        [{"type": "phrasal", "token_ids": [1]}],
        [{"type": "disjunctive", "nested_token_ids": [[1], [1, 2]]}],
    ],
    "penalty_alpha": [0.0, 0.6],
    "top_k": [0, 1, 4, 300],
    "dola_layers": ["low", [0], [5]],
    "guidance_scale": [1.0, 2.0, 0.0],
    "prompt_lookup_num_tokens": [3],
    "assistant_early_exit": [1, 9],
    "num_assistant_tokens": [3],
    "max_new_tokens": [1, 4, 200],
    "output_scores": [True],
    "token_healing": [True],
}
BESIDE = {
    "inputs": [[3], "ab", ["a", "b"], [[3], [4]]],
    "mode": ["greedy_search", "beam_search", "assisted_generation", "contrastive_search"],
    "assistant_model": ["draft", "other"],
    "negative_prompt": ["a", "", ["a", "b"], ["a"]],
    "negative_prompt_ids": [[1], [[1], [2]], [], [[]], [[1, 2], [2]], [[1], 3]],
    "negative_prompt_attention_mask": [[1], [0], [[1], [1]], [], [[]], [[0, 1], [1]], [1, [1]]],
    "force_words": [["cat"], [["a", "b"]], [" "], ["x"] * 300],
    "stream": [True],
    "outputs": [{"progress": True}, {"transition_scores": True, "top_n_tokens": 2}, {"config": True}],
}


def some(random, choices, share):
    return {name: random.choice(values) for name, values in choices.items() if random.random() < share}


async def test_any_fields_together_give_an_answer_or_a_named_refusal(client, engine):
    random, seen = Random(0), set()
    engine.script = lambda item: search(item) if item.config.num_beams > 1 else count_up(item)
    for _ in range(400):
        share = random.choice([0.05, 0.1, 0.3])
        body = {**some(random, BESIDE, share), "generation_config": some(random, CONFIG, share)}
        response = await client.post("/generate", json=body)
        seen.add(response.status_code)
        assert response.status_code in (200, 422), (body, response.text)
        if response.status_code == 422:
            assert response.json()["errors"], body
        else:
            assert "event: error" not in response.text, body
    assert seen == {200, 422}
