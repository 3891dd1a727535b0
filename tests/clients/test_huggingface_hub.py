"""`InferenceClient.text_generation` of huggingface_hub against a real server with a real engine process."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import UnknownError, ValidationError

from tests.deploy.processes import Replica

PROMPT = "Once upon a time"
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch):
    """Where nobody may ask the Hub, the client would not ask this machine either."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[InferenceClient]:
    with InferenceClient(server.url) as opened:
        yield opened


def native(server: Replica, **body: Any) -> dict[str, Any]:
    response = httpx.post(f"{server.url}/generate", json={"inputs": PROMPT, **body}, timeout=60)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_text_is_that_of_greedy_search(server: Replica, client: InferenceClient):
    config = {"do_sample": False, "max_new_tokens": 12, "repetition_penalty": 1.0}
    assert (
        client.text_generation(PROMPT, max_new_tokens=12) == native(server, generation_config=config)["generated_text"]
    )


def test_details_are_those_of_our_own_route(server: Replica, client: InferenceClient):
    answer = client.text_generation(
        PROMPT, max_new_tokens=6, details=True, decoder_input_details=True, top_n_tokens=2, do_sample=True, seed=7
    )
    config = {"do_sample": True, "max_new_tokens": 6, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0}
    outputs = {"transition_scores": True, "prompt_logprobs": True, "top_n_tokens": 2}
    ours = native(server, generation_config=config, outputs=outputs, seed=7)
    (sequence,), details = ours["sequences"], answer.details
    assert answer.generated_text == ours["generated_text"] == "".join(token.text for token in details.tokens)
    assert [token.id for token in details.tokens] == sequence["token_ids"]
    assert [token.logprob for token in details.tokens] == sequence["transition_scores"]
    assert [token.logprob for token in details.prefill] == ours["prompt_logprobs"][0]
    assert "".join(token.text for token in details.prefill).endswith(PROMPT)
    assert [[top["id"] for top in tops] for tops in details.top_tokens] == [
        [top["token_id"] for top in tops] for tops in sequence["top_tokens"]
    ]
    assert (details.finish_reason, details.generated_tokens, details.seed) == ("length", 6, 7)


@pytest.mark.parametrize(
    "drawn", [{}, {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "seed": 3}], ids=["greedy", "drawn"]
)
def test_a_stream_joined_is_the_plain_answer(client: InferenceClient, drawn: dict[str, Any]):
    asked: dict[str, Any] = {"max_new_tokens": 12, **drawn}
    plain = client.text_generation(PROMPT, details=True, **asked)
    assert "".join(client.text_generation(PROMPT, stream=True, **asked)) == plain.generated_text
    *some, last = client.text_generation(PROMPT, stream=True, details=True, **asked)
    assert [event.generated_text for event in some] == [None] * 11
    assert last.generated_text == plain.generated_text
    assert [vars(event.token) for event in (*some, last)] == [vars(token) for token in plain.details.tokens]
    assert (last.details.finish_reason, last.details.seed) == (plain.details.finish_reason, plain.details.seed)


def test_a_draw_without_a_seed_tells_the_one_that_repeats_it(client: InferenceClient):
    first = client.text_generation(PROMPT, max_new_tokens=8, do_sample=True, details=True)
    again = client.text_generation(PROMPT, max_new_tokens=8, do_sample=True, seed=first.details.seed)
    assert first.generated_text == again


def test_the_best_of_draws_has_the_highest_mean_and_each_can_be_repeated(client: InferenceClient):
    answer = client.text_generation(PROMPT, max_new_tokens=8, do_sample=True, best_of=3, details=True)
    best, others = answer.details, answer.details.best_of_sequences
    assert len(others) == 2

    def mean(one: Any) -> float:
        return sum(token.logprob for token in one.tokens) / len(one.tokens)

    assert all(mean(best) >= mean(other) for other in others)
    for one, text in ((best, answer.generated_text), *((other, other.generated_text) for other in others)):
        assert client.text_generation(PROMPT, max_new_tokens=8, do_sample=True, seed=one.seed) == text


def test_what_ends_the_text_stays_in_it(client: InferenceClient):
    whole = client.text_generation(PROMPT, max_new_tokens=12)
    stop = whole.split()[2]
    answer = client.text_generation(PROMPT, max_new_tokens=12, stop=[stop], details=True)
    assert answer.generated_text == whole[: whole.index(stop) + len(stop)]
    assert answer.details.finish_reason == "stop_sequence"


def test_a_text_without_a_length_goes_on_until_it_ends(client: InferenceClient):
    answer = client.text_generation(PROMPT, details=True)
    assert answer.details.finish_reason in ("eos_token", "length")
    assert answer.details.generated_tokens > 20
    spoken = [token.text for token in answer.details.tokens if not token.special]
    assert "".join(spoken) == answer.generated_text


def test_a_prompt_is_truncated_from_the_left_and_told_if_asked(client: InferenceClient):
    answer = client.text_generation(
        PROMPT, max_new_tokens=2, truncate=2, decoder_input_details=True, details=True, return_full_text=True
    )
    assert len(answer.details.prefill) == 2
    assert answer.generated_text.startswith(PROMPT)


@pytest.mark.parametrize(
    "grammar",
    [
        {"type": "json", "value": SCHEMA},
        {"type": "json", "value": json.dumps(SCHEMA)},
        {"type": "json_schema", "value": {"name": "person", "schema": SCHEMA}},
    ],
    ids=["object", "text", "named"],
)
def test_a_grammar_is_followed(client: InferenceClient, grammar: dict[str, Any]):
    text = client.text_generation(PROMPT, max_new_tokens=24, grammar=grammar)
    assert text.startswith("{")
    assert '"age"' in text


def test_an_expression_is_followed(client: InferenceClient):
    assert client.text_generation(PROMPT, max_new_tokens=24, grammar={"type": "regex", "value": "(yes|no)!"})[-1] == "!"


def test_a_watermark_is_found_again(server: Replica, client: InferenceClient):
    text = client.text_generation(PROMPT, max_new_tokens=60, do_sample=True, seed=1, watermark=True)
    mark = {"greenlist_ratio": 0.5, "bias": 4.0}
    asked = {"inputs": text, "watermarking_config": mark}
    (found,) = httpx.post(f"{server.url}/watermark/detect", json=asked).json()["detections"]
    assert found["prediction"] is True


def test_what_cannot_be_obeyed_is_an_error_of_validation(client: InferenceClient):
    for asked in ({"temperature": -1.0}, {"adapter_id": "lora"}, {"best_of": 2}, {"top_p": 1.5}):
        with pytest.raises(ValidationError, match=next(iter(asked))):
            client.text_generation(PROMPT, max_new_tokens=2, **asked)
        with pytest.raises((ValidationError, UnknownError), match=next(iter(asked))):
            list(client.text_generation(PROMPT, max_new_tokens=2, stream=True, **asked))


def test_information_and_health_are_where_the_client_looks(server: Replica):
    client = InferenceClient(provider="hf-inference", base_url=server.url)
    assert client.health_check() is True
    assert client.get_endpoint_info()["model_id"]
