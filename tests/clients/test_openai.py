"""The `openai` package against a real server: completions, chat and models, plain and streamed."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.deploy.processes import Replica

STORY = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_the_served_model_is_listed_and_found(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-4")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def complete(client: OpenAI, **fields: Any) -> Any:
    return client.completions.create(**{"model": "any", "prompt": "Once upon a time", "max_tokens": 12} | fields)


def streamed(client: OpenAI, **fields: Any) -> dict[str, Any]:
    """What the chunks of a stream come to, in the shape of a plain answer."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in complete(client, stream=True, stream_options={"include_usage": True}, **fields):
        usage = chunk.usage or usage
        for piece in chunk.choices:
            choice = choices.setdefault(piece.index, {"text": "", "logprobs": None, "finish_reason": None})
            choice["text"] += piece.text
            choice["finish_reason"] = piece.finish_reason or choice["finish_reason"]
            if piece.logprobs is not None:
                told = piece.logprobs.model_dump()
                before = choice["logprobs"]
                choice["logprobs"] = told if before is None else {name: before[name] + told[name] for name in told}
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage.model_dump()}


def plain(client: OpenAI, **fields: Any) -> dict[str, Any]:
    answer = complete(client, **fields)
    told = [choice.model_dump(include={"text", "logprobs", "finish_reason"}) for choice in answer.choices]
    return {"choices": told, "usage": answer.usage.model_dump()}


CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"seed": 7, "temperature": 0.9, "top_p": 0.9, "frequency_penalty": 0.5, "presence_penalty": 0.2},
    "several": {"seed": 7, "n": 3},
    "copies": {"temperature": 0, "n": 2},
    "prompts": {"prompt": ["Once", "The fox"], "temperature": 0},
    "ids": {"prompt": [1, 350, 412], "temperature": 0},
    "lists of ids": {"prompt": [[1, 350], [1, 412]], "temperature": 0},
    "stop": {"temperature": 0, "max_tokens": 40, "stop": ["time", "."]},
    "echo": {"temperature": 0, "echo": True},
    "log-probabilities": {"temperature": 0, "logprobs": 3},
    "echo with log-probabilities": {"temperature": 0, "echo": True, "logprobs": 2},
    "beams": {"n": 2, "extra_body": {"num_beams": 4}},
    "beams of vLLM": {"n": 2, "best_of": 3, "logprobs": 1, "extra_body": {"use_beam_search": True}},
    "contrastive": {"extra_body": {"penalty_alpha": 0.6, "top_k": 4}},
    "DoLa": {"extra_body": {"generation_config": {"dola_layers": "low"}}},
    "assisted": {"temperature": 0, "extra_body": {"assistant_model": "draft"}},
    "constrained": {"max_tokens": 20, "extra_body": {"num_beams": 4, "force_words": ["dragon"]}},
    "choice": {"temperature": 0, "extra_body": {"guided_choice": [" yes.", " no"]}},
    "words of vLLM": {"seed": 3, "extra_body": {"top_k": 5, "min_p": 0.05, "repetition_penalty": 1.1, "min_tokens": 5}},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_a_stream_comes_to_the_plain_answer(client: OpenAI, fields: dict[str, Any]) -> None:
    expected, found = plain(client, **fields), streamed(client, **fields)
    for usage in (expected["usage"], found["usage"]):
        del usage["prompt_tokens_details"]  # the second one finds the prompt in the cache
    assert found == expected
