"""`/tokenize`, `/detokenize`, `/score` and `/compute_transition_scores`."""

import base64
import math
import threading

import numpy as np
import pytest
from tokenizers import Tokenizer

from beamhouse.schemas.beamhouse.scores import TransitionScoresRequest
from beamhouse.server.answering.transitions import transition_scores
from beamhouse.server.doors.beamhouse import tokens as tokens_routes
from tests.fakes import fake_info

pytestmark = pytest.mark.anyio


async def test_texts_become_tokens_and_back(client, encode):
    response = await client.post("/tokenize", json={"inputs": ["ab", "€"]})
    first, second = response.json()["sequences"]
    assert first == {"token_ids": encode("ab"), "tokens": ["a", "b"], "num_tokens": 2}
    assert second["token_ids"] == encode("€")
    ids = [first["token_ids"], second["token_ids"]]
    assert (await client.post("/detokenize", json={"token_ids": ids})).json() == {"texts": ["ab", "€"]}
    assert (await client.post("/detokenize", json={"token_ids": ids[0]})).json() == {"texts": ["ab"]}


@pytest.mark.parametrize(
    ("writer", "body"), [("tokenize_json", {"inputs": "ab"}), ("decoded", {"token_ids": [1, 2]})], ids=["ids", "text"]
)
async def test_a_long_answer_is_written_off_the_event_loop(client, monkeypatch, writer, body):
    threads = []
    write = getattr(tokens_routes, writer)

    def record(*given):
        threads.append(threading.current_thread())
        return write(*given)

    monkeypatch.setattr(tokens_routes, writer, record)
    path = "/tokenize" if "inputs" in body else "/detokenize"
    assert (await client.post(path, json=body)).status_code == 200
    assert threads
    assert threading.current_thread() not in threads


@pytest.fixture
def with_controls(engine, tmp_path):
    """A tokenizer with two tokens more than the model has rows for, the first of which ends a turn."""
    tokenizer = Tokenizer.from_file(engine.info.tokenizer_file)
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens(["<user>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    engine.info = fake_info(str(tmp_path / "tokenizer.json"))


@pytest.mark.usefixtures("with_controls")
async def test_what_tokenize_gives_detokenize_takes(client):
    (tokens,) = (await client.post("/tokenize", json={"inputs": "a<end>b<user>"})).json()["sequences"]
    assert tokens["token_ids"][1] == 256
    body = {"token_ids": tokens["token_ids"], "skip_special_tokens": False}
    assert (await client.post("/detokenize", json=body)).json() == {"texts": ["a<end>b<user>"]}
    refused = await client.post("/detokenize", json={"token_ids": [258]})
    assert refused.json()["errors"][0]["message"] == "token_ids[0] is 258; allowed: 0 <= id < 258"


@pytest.mark.usefixtures("with_controls")
@pytest.mark.parametrize("is_open", [False, True])
async def test_a_control_token_that_somebody_writes_is_text_unless_the_operator_allows_it(connect, encode, is_open):
    client = await connect(control_tokens_in_messages=is_open)
    messages = [{"role": "user", "content": "a<end>"}, {"role": "<end>", "content": "<user>"}]
    (tokens,) = (await client.post("/tokenize", json={"messages": messages})).json()["sequences"]
    end, user = ([256], [257]) if is_open else (encode("<end>"), encode("<user>"))
    assert tokens["token_ids"] == [257, *encode("a"), *end, *encode("<"), *end, *encode(">"), *user]


@pytest.mark.usefixtures("with_controls")
async def test_a_role_that_would_complete_a_control_token_is_refused(client):
    refused = await client.post("/tokenize", json={"messages": [{"role": "end", "content": "a"}]})
    assert refused.status_code == 422
    (problem,) = refused.json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("/messages", "control_token")
    assert "<end>" in problem["message"]


@pytest.mark.usefixtures("with_controls")
async def test_ids_beyond_the_model_are_still_no_prompt(client, engine):
    response = await client.post("/generate", json={"inputs": "a<end>"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/inputs/1"
    assert engine.submissions == []


async def test_a_conversation_can_be_tokenised(client, encode):
    response = await client.post("/tokenize", json={"messages": [{"role": "user", "content": "hi"}]})
    assert response.json()["sequences"][0]["token_ids"] == encode("<user>hi")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/tokenize", {}, ""),
        ("/tokenize", {"inputs": 3}, "/inputs"),
        ("/tokenize", {"inputs": ["a"] * 33}, "/inputs"),
        ("/detokenize", {"token_ids": [[1], [2, 300]]}, "/token_ids/1/1"),
        ("/detokenize", {"token_ids": [300]}, "/token_ids/0"),
        ("/score", {"pairs": []}, "/pairs"),
        ("/score", {"pairs": [{"prompt": [3], "continuation": [4]}] * 33}, "/pairs"),
        ("/score", {"pairs": [{"prompt": [3]}]}, "/pairs/0/continuation"),
        ("/score", {"pairs": [{"prompt": [3], "continuation": []}]}, "/pairs/0/continuation"),
        ("/score", {"pairs": [{"prompt": [300], "continuation": [3]}]}, "/pairs/0/prompt/0"),
        ("/score", {"pairs": [{"prompt": [3], "continuation": [3] * 200}]}, "/pairs/0"),
    ],
)
async def test_what_cannot_be_done_names_its_field(client, engine, path, body, pointer):
    response = await client.post(path, json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == pointer
    assert engine.submissions == []


async def test_a_score_is_the_sum_over_the_continuation(client, engine, encode):
    pairs = [{"prompt": "ab", "continuation": "cde"}, {"prompt": [5], "continuation": [6]}, {"continuation": [7]}]
    answer = (await client.post("/score", json={"pairs": pairs})).json()
    first, second, third = answer["scores"]
    assert first == {"prompt_tokens": 2, "token_ids": encode("cde"), "logprobs": [-2.0, -3.0, -4.0], "sum": -9.0}
    assert second["logprobs"] == [-1.0]
    assert third["prompt_tokens"] == 1
    assert engine.submissions[0].prompt_ids == encode("abcde")
    assert engine.submissions[0].wanted.prompt_logprobs
    assert answer["usage"]["prompt_tokens"] == 5 + 2 + 2


async def test_a_text_as_long_as_the_context_is_scored(client):
    pairs = [{"prompt": [3] * 100, "continuation": [4] * 28}]
    assert (await client.post("/score", json={"pairs": pairs})).status_code == 200
    pairs[0]["continuation"].append(4)
    response = await client.post("/score", json={"pairs": pairs})
    assert response.status_code == 422
    assert response.json()["errors"][0]["message"] == "prompt has 129 tokens; allowed: at most 128"


async def transitions(client, **body):
    response = await client.post("/compute_transition_scores", json=body)
    assert response.status_code == 200, response.text
    return response.json()["transition_scores"]


SCORES = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)


async def test_greedy_transition_scores_are_those_of_the_chosen_tokens(client):
    sequences = [[9, 1, 2, 3], [9, 0, 0, 1]]
    found = await transitions(client, sequences=sequences, scores=SCORES.tolist())
    expected = [[SCORES[step, row, sequences[row][1 + step]] for step in range(3)] for row in range(2)]
    assert np.allclose(found, expected)


async def test_beam_indices_say_whose_scores_count_and_early_ends_are_zero(client):
    sequences, beams = [[9, 1, 2, 3], [9, 0, 3, 3]], [[0, 1, 1], [1, 0, -1]]
    found = await transitions(client, sequences=sequences, scores=SCORES.tolist(), beam_indices=beams)
    expected = [[SCORES[0, 0, 1], SCORES[1, 1, 2], SCORES[2, 1, 3]], [SCORES[0, 1, 0], SCORES[1, 0, 3], 0]]
    assert np.allclose(found, expected)


async def test_normalising_makes_them_log_probabilities(client):
    tensor = {"dtype": "float32", "shape": [3, 2, 4], "data": base64.b64encode(SCORES.tobytes()).decode()}
    found = await transitions(client, sequences=[[1, 2, 3], [0, 0, 1]], scores=tensor, normalize_logits=True)
    expected = SCORES - np.log(np.exp(SCORES).sum(axis=-1, keepdims=True))
    assert math.isclose(found[0][0], expected[0, 0, 1], abs_tol=1e-5)


async def test_excluded_tokens_stay_excluded(client):
    scores = [[[0.0, "-Infinity", None, 1]]]
    assert await transitions(client, sequences=[[1]], scores=scores) == [["-Infinity"]]
    assert await transitions(client, sequences=[[2]], scores=scores) == [[None]]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"sequences": [[1], [1, 2]]}, "/sequences"),
        ({"sequences": [[9, 1, 2, 7], [9, 0, 0, 1]]}, "/sequences/0/3"),
        ({"sequences": [[1], [1]]}, "/sequences"),
        ({"scores": [[1], [[2]]]}, "/scores"),
        ({"scores": [[["x"]]]}, "/scores"),
        ({"scores": [[[True]]]}, "/scores"),
        ({"scores": []}, "/scores"),
        ({"scores": {"dtype": "float32", "shape": [1, 1, 1], "data": "AA=="}}, "/scores/data"),
        ({"scores": {"dtype": "float32", "shape": [1, 1, 1], "data": "?"}}, "/scores/data"),
        ({"scores": {"dtype": "float32", "shape": [2**30, 2**30, 2**30], "data": ""}}, "/scores/data"),
        ({"beam_indices": [[0, 1, 2], [0, 0, 0]]}, "/beam_indices/0/2"),
        ({"beam_indices": [[0]]}, "/sequences"),
        ({"sequences": []}, "/sequences"),
        ({"scores": [[[]]]}, "/scores"),
        ({"scores": [[[1]], 5]}, "/scores"),
        ({"beam_indices": [[0] * 4, [0] * 4]}, "/beam_indices"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(client, changes, pointer):
    body = {"sequences": [[9, 1, 2, 3], [9, 0, 0, 1]], "scores": SCORES.tolist(), **changes}
    response = await client.post("/compute_transition_scores", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.slow
def test_transition_scores_equal_the_librarys():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=7, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config)
    random = np.random.default_rng(1)
    for is_beam in (False, True):
        scores = random.normal(size=(4, 6, 7)).astype(np.float32)
        sequences = random.integers(0, 7, size=(2 if is_beam else 6, 9))
        beams = np.array([[0, 3, 2, 2, -1], [5, 1, -1, -1, -1]]) if is_beam else None
        for normalize in (False, True):
            expected = model.compute_transition_scores(
                torch.tensor(sequences),
                tuple(torch.tensor(scores)),
                None if beams is None else torch.tensor(beams),
                normalize_logits=normalize,
            )
            body = TransitionScoresRequest(
                sequences=sequences.tolist(),
                scores=scores.tolist(),
                beam_indices=None if beams is None else beams.tolist(),
                normalize_logits=normalize,
            )
            assert np.allclose(transition_scores(body), expected.numpy(), atol=1e-5)
