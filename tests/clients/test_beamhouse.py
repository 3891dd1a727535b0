"""Our own client against a real server with a real engine process."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from beamhouse.client import AsyncClient, Client, InvalidRequest
from tests.deploy.processes import Replica, wait_until

PROMPT = "Once upon a time"
SHORT = {"max_new_tokens": 8}


@pytest.fixture(scope="module")
def client(server: Replica) -> Iterator[Client]:
    with Client(server.url) as opened:
        yield opened


def running(server: Replica) -> float:
    found = re.search(r"^beamhouse_requests_running (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_a_stream_joined_is_the_plain_answer(client: Client):
    plain = client.generate(PROMPT, seed=7, generation_config={"do_sample": True, **SHORT})
    text, answers = "", []
    with client.stream(PROMPT, seed=7, generation_config={"do_sample": True, **SHORT}) as events:
        for event in events:
            if event["event"] == "token" or event["event"] == "tokens":
                text += event.get("text") or ""
            elif event["event"] == "done":
                answers.append(event["answer"])
    assert text == plain["generated_text"]
    assert [answer["sequences"] for answer in answers] == [plain["sequences"]]


def test_every_mode_and_its_scores_come_typed(client: Client):
    answer = client.generate(
        PROMPT,
        mode="beam_search",
        generation_config={"num_beams": 3, "num_return_sequences": 2, **SHORT},
        outputs={"transition_scores": True},
    )
    scores = [sequence["transition_scores"] for sequence in answer["sequences"]]
    assert [len(row or []) for row in scores] == [8, 8]
    with client.stream(
        PROMPT, generation_config={"num_beams": 3, "max_new_tokens": 4}, outputs={"progress": True}
    ) as events:
        assert "progress" in {event["event"] for event in events}


def test_texts_tokens_and_scores(client: Client):
    tokens = client.tokenize([PROMPT, "The dog"])["sequences"]
    texts = client.detokenize([sequence["token_ids"] for sequence in tokens])["texts"]
    assert texts == [PROMPT, "The dog"]
    (scored,) = client.score([{"prompt": PROMPT, "continuation": ", there"}])["scores"]
    assert scored["sum"] == pytest.approx(sum(value or 0 for value in scored["logprobs"]))


def test_a_mark_is_found(client: Client):
    marked = client.generate(
        PROMPT,
        seed=1,
        generation_config={"do_sample": True, "max_new_tokens": 60, "watermarking_config": {"bias": 8.0}},
    )
    (found,) = client.detect_watermark(
        marked["sequences"][0]["token_ids"], watermarking_config={"bias": 8.0}, z_threshold=2.5
    )["detections"]
    assert found.get("prediction") is True


def test_a_configuration_is_looked_at_without_generating(client: Client):
    assert client.validate({"num_beams": 4}).get("mode") == "beam_search"
    wrong = client.validate({"top_p": 2.0})
    assert [problem["pointer"] for problem in wrong["problems"]] == ["/generation_config/top_p"]
    assert client.generation_config()["mode"] == "greedy_search"


def test_transition_scores_are_computed_of_what_was_returned(client: Client):
    scores = client.compute_transition_scores([[1, 2], [1, 0]], [[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]])
    assert scores["transition_scores"] == [[pytest.approx(0.3)], [pytest.approx(0.4)]]


def test_the_server_says_what_it_is(client: Client):
    info = client.info()
    assert info.get("model", {}).get("model_id") == "builtin"
    assert client.health()["status"] == "ready"


def test_what_is_wrong_is_raised_by_its_field(client: Client):
    with pytest.raises(InvalidRequest) as raised:
        client.generate(PROMPT, generation_config={"top_p": 1.5})
    assert [problem["pointer"] for problem in raised.value.errors] == ["/generation_config/top_p"]
    with pytest.raises(InvalidRequest), client.stream(PROMPT, priority=2**40):
        raise AssertionError("there is no stream")


def test_leaving_a_stream_cancels_it(client: Client, server: Replica):
    endless = {"max_new_tokens": 1000, "eos_token_id": 2}
    with client.stream(PROMPT, generation_config=endless) as events:
        assert next(events)["event"] == "token"
        assert running(server) == 1
    began = time.monotonic()
    wait_until(lambda: running(server) == 0, "the engine frees what nobody reads")
    assert time.monotonic() - began < 5
    assert client.generate(PROMPT, generation_config=SHORT)["usage"]["generated_tokens"] == 8


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_client_for_asyncio_says_the_same(client: Client, server: Replica):
    plain = client.generate(PROMPT, generation_config=SHORT)
    async with AsyncClient(server.url) as other:
        assert (await other.generate(PROMPT, generation_config=SHORT))["sequences"] == plain["sequences"]
        async with other.stream(PROMPT, generation_config=SHORT) as events:
            said = [event async for event in events]
        assert said[-1]["event"] == "done"
        assert said[-1]["answer"]["sequences"] == plain["sequences"]
        assert (await other.tokenize(PROMPT))["sequences"][0]["num_tokens"] == 5


def test_tensors_come_as_a_file(client: Client):
    file = client.generate_safetensors(PROMPT, generation_config={"output_scores": True, "max_new_tokens": 2})
    assert b'"scores' in file[:4000]
