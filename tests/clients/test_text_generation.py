"""The client `text-generation` 0.7.0 against a real server with a real engine process."""

import asyncio
from typing import Any

import pytest
from text_generation import AsyncClient, Client
from text_generation.errors import ValidationError
from text_generation.types import FinishReason

from tests.deploy.processes import Replica

# It calls models of pydantic by a name that pydantic has given up.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
PROMPT = "Once upon a time"
MODES: list[dict[str, Any]] = [{}, {"do_sample": True, "seed": 5}, {"temperature": 0.7, "seed": 5, "top_n_tokens": 2}]


@pytest.fixture(scope="module")
def client(server: Replica) -> Client:
    return Client(server.url, timeout=60)


@pytest.mark.parametrize("mode", MODES, ids=["greedy", "drawn", "likeliest"])
def test_a_stream_joined_is_the_plain_answer(client: Client, mode: dict[str, Any]):
    plain = client.generate(PROMPT, max_new_tokens=12, **mode)
    events = list(client.generate_stream(PROMPT, max_new_tokens=12, **mode))
    spoken = [event.token.text for event in events if not event.token.special]
    assert "".join(spoken) == plain.generated_text == events[-1].generated_text
    assert [event.token for event in events] == plain.details.tokens
    assert events[-1].details.finish_reason == plain.details.finish_reason == FinishReason.Length
    assert (events[-1].details.seed, events[-1].details.generated_tokens) == (plain.details.seed, 12)
    if "top_n_tokens" in mode:
        assert [event.top_tokens for event in events] == plain.details.top_tokens


def test_everything_that_the_client_can_ask_is_obeyed(client: Client):
    answer = client.generate(
        PROMPT,
        max_new_tokens=6,
        best_of=2,
        do_sample=True,
        repetition_penalty=1.2,
        frequency_penalty=0.5,
        return_full_text=True,
        stop_sequences=["zebra"],
        temperature=0.9,
        top_k=30,
        top_p=0.9,
        typical_p=0.9,
        truncate=3,
        watermark=True,
        decoder_input_details=True,
        top_n_tokens=2,
    )
    assert answer.generated_text.startswith(PROMPT)
    assert len(answer.details.prefill) == 3
    assert answer.details.prefill[0].logprob is None
    assert len(answer.details.best_of_sequences) == 1
    assert len(answer.details.top_tokens) == answer.details.generated_tokens
    assert {len(tops) for tops in answer.details.top_tokens} <= {1, 2}  # as many as the cutoffs left


def test_what_cannot_be_obeyed_is_an_error_of_validation(client: Client):
    with pytest.raises(ValidationError, match="max_new_tokens is 1000000"):
        client.generate(PROMPT, max_new_tokens=1_000_000)
    with pytest.raises(ValidationError, match="max_new_tokens is 1000000"):
        list(client.generate_stream(PROMPT, max_new_tokens=1_000_000))


def test_the_asynchronous_client_gets_the_same(server: Replica, client: Client):
    async def asked() -> tuple[str, str]:
        other = AsyncClient(server.url, timeout=60)
        plain = await other.generate(PROMPT, max_new_tokens=5)
        events = [event async for event in other.generate_stream(PROMPT, max_new_tokens=5)]
        return plain.generated_text, "".join(event.token.text for event in events)

    whole = client.generate(PROMPT, max_new_tokens=5).generated_text
    assert asyncio.run(asked()) == (whole, whole)
