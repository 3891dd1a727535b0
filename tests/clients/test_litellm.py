"""`litellm` against a real server: completions and chat, plain and streamed, and its kinds of errors."""

from typing import Any

import litellm
import pytest

from tests.deploy.processes import Replica

STORY = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def asked(server: Replica) -> dict[str, Any]:
    return {"api_base": f"{server.url}/v1", "api_key": "none", "max_tokens": 12, "seed": 3, "num_retries": 0}


def test_a_stream_of_chat_comes_to_the_plain_answer(asked: dict[str, Any]) -> None:
    plain = litellm.completion(model="openai/any", messages=STORY, **asked)
    chunks = list(litellm.completion(model="openai/any", messages=STORY, stream=True, **asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    assert plain.usage.completion_tokens == 12
    assert chunks[-1].choices[0].finish_reason == plain.choices[0].finish_reason == "length"


def test_a_stream_of_a_completion_comes_to_the_plain_answer(asked: dict[str, Any]) -> None:
    plain = litellm.text_completion(model="text-completion-openai/any", prompt="Once upon a time", **asked)
    chunks = list(
        litellm.text_completion(model="text-completion-openai/any", prompt="Once upon a time", stream=True, **asked)
    )
    assert "".join(chunk.choices[0].text or "" for chunk in chunks) == plain.choices[0].text
    assert plain.usage.completion_tokens == 12


def test_fields_of_generate_pass_through(asked: dict[str, Any]) -> None:
    answer = litellm.completion(model="openai/any", messages=STORY, extra_body={"num_beams": 3}, **asked)
    assert answer.choices[0].message.content


def test_a_context_that_is_too_long_is_an_error_of_its_own(asked: dict[str, Any]) -> None:
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(model="openai/any", messages=STORY, **asked | {"max_tokens": 100_000})


def test_what_cannot_be_obeyed_is_a_bad_request(asked: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError, match="nobody"):
        litellm.completion(model="openai/any", messages=STORY, extra_body={"nobody": 1}, **asked)
