"""Random bodies of the doors: the stream comes to the plain answer, and that is what our own route says of the same."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.loading.files import BUILTIN_FILES
from beamhouse.schemas.anthropic.messages import MessagesRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.schemas.openai.completions import CompletionRequest
from beamhouse.schemas.openai.responses import ResponsesRequest
from beamhouse.schemas.tgi.requests import TgiRequest
from beamhouse.server.doors.anthropic.translation import translate_messages
from beamhouse.server.doors.openai.chat import translate_chat
from beamhouse.server.doors.openai.completions import translate_completion
from beamhouse.server.doors.openai.responses import translate_response
from beamhouse.server.doors.tgi.translation import Door as TgiDoor
from beamhouse.server.doors.tgi.translation import translate_generation
from beamhouse.server.service import Model, open_model
from tests.clients import door_bodies, door_streams
from tests.clients.conftest import GREEN
from tests.clients.door_streams import Shape, cleaned, data_of
from tests.deploy.processes import Replica
from tests.fakes import fake_info
from tests.fuzz.requests import Dice

NUM_BODIES = int(os.environ.get("DOOR_BODIES", "16"))
"""Of each door. A longer search: `DOOR_BODIES=500 DOOR_SEED=other`."""
SEED = os.environ.get("DOOR_SEED", "doors")
REFUSED = (400, 422)


@dataclass(frozen=True)
class Door:
    """One door. native: of a body our own request. rows: of a plain answer what our own says of sequences."""

    path: str
    streaming: str
    draw: Callable[[Dice], Shape]
    joined: Callable[[list[Shape]], Shape]
    plain: Callable[[Shape], Shape]
    native: Callable[[Shape, Model], Any]
    rows: Callable[[Shape, Shape], list[Shape]]
    ours: Callable[[Shape, Shape], list[Shape]]


def told(sequence: Shape) -> Shape:
    """What every door tells of a sequence of ours."""
    return {"text": sequence["text"], "scores": sequence.get("transition_scores") or None}


REASONS = {"eos_token": "stop", "stop_string": "stop", "length": "length"}


def openai_ours(body: Shape, answer: Shape) -> list[Shape]:
    rows = [told(one) | {"reason": REASONS[one["finish_reason"]["type"]]} for one in answer["sequences"]]
    return rows if asks_for_scores(body) else [row | {"scores": None} for row in rows]


def asks_for_scores(body: Shape) -> bool:
    return body.get("logprobs") is not None and body["logprobs"] is not False


def completion_rows(body: Shape, answer: Shape) -> list[Shape]:
    return [
        {"text": choice["text"], "reason": choice["finish_reason"], "scores": completion_scores(choice)}
        for choice in answer["choices"]
    ]


def completion_scores(choice: Shape) -> list[float] | None:
    return (choice["logprobs"] or {}).get("token_logprobs") or None


def chat_rows(body: Shape, answer: Shape) -> list[Shape]:
    return [
        {
            "text": choice["message"]["content"],
            "reason": choice["finish_reason"],
            "scores": [one["logprob"] for one in (choice["logprobs"] or {}).get("content", [])] or None,
        }
        for choice in answer["choices"]
    ]


def tgi_rows(body: Shape, answer: Shape) -> list[Shape]:
    full = body["inputs"] if body["parameters"].get("return_full_text") else ""
    text, tokens = answer["generated_text"], answer["details"]["tokens"]
    assert text.startswith(full)
    return [{"text": text.removeprefix(full), "scores": [token["logprob"] for token in tokens]}]


def response_rows(body: Shape, answer: Shape) -> list[Shape]:
    return [{"text": "".join(item["content"][0]["text"] for item in answer["output"])}]


def message_rows(body: Shape, answer: Shape) -> list[Shape]:
    return [{"text": "".join(block["text"] for block in answer["content"])}]


def one_text(body: Shape, answer: Shape) -> list[Shape]:
    return [{"text": answer["generated_text"]}]


DOORS = {
    "completions": Door(
        "/v1/completions",
        "/v1/completions",
        door_bodies.completion,
        door_streams.openai_joined,
        door_streams.openai_plain,
        lambda body, model: translate_completion(CompletionRequest.model_validate(body), model.config),
        completion_rows,
        openai_ours,
    ),
    "chat": Door(
        "/v1/chat/completions",
        "/v1/chat/completions",
        door_bodies.chat,
        door_streams.openai_joined,
        door_streams.openai_plain,
        lambda body, model: translate_chat(ChatRequest.model_validate(body), model),
        chat_rows,
        openai_ours,
    ),
    "responses": Door(
        "/v1/responses",
        "/v1/responses",
        door_bodies.response,
        door_streams.response_joined,
        door_streams.response_plain,
        lambda body, model: translate_response(ResponsesRequest.model_validate(body), model),
        response_rows,
        one_text,
    ),
    "messages": Door(
        "/v1/messages",
        "/v1/messages",
        door_bodies.message,
        door_streams.message_joined,
        door_streams.message_plain,
        lambda body, model: translate_messages(MessagesRequest.model_validate(body), model),
        message_rows,
        one_text,
    ),
    "TGI": Door(
        "/generate",
        "/generate_stream",
        door_bodies.tgi,
        door_streams.tgi_joined,
        door_streams.tgi_plain,
        lambda body, model: translate_generation(TgiRequest.model_validate(body), TgiDoor(GREEN, lambda: 0)),
        tgi_rows,
        lambda body, answer: [told(one) for one in answer["sequences"]],
    ),
}


@pytest.fixture(scope="module")
def http(server: Replica) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def model() -> Model:
    """What the doors know of the built-in model."""
    config = GenerationConfig.model_validate_json((BUILTIN_FILES / "generation_config.json").read_bytes())
    info = fake_info(
        str(BUILTIN_FILES / "tokenizer.json"),
        chat_template=(BUILTIN_FILES / "chat_template.jinja").read_text(encoding="utf-8"),
        generation_config=config.set_fields(),
        vocab_size=4096,
        context_len=1024,
    )
    return open_model(info, Settings())


@pytest.mark.parametrize("name", DOORS)
def test_the_stream_the_plain_answer_and_our_own_route_say_the_same(
    http: httpx.Client, model: Model, name: str
) -> None:
    door, dice, num_answered = DOORS[name], Dice(f"{SEED} {name}"), 0
    for _ in range(NUM_BODIES):
        body = door.draw(dice)
        plain = http.post(door.path, json=body)
        streamed = http.post(door.streaming, json=body | streaming(name))
        if plain.status_code in REFUSED or found_nothing(plain):
            assert is_refused(streamed), body
            continue
        assert plain.status_code == 200, (body, plain.text)
        num_answered += 1
        expected = cleaned(door.plain(plain.json()))
        found = cleaned(door.joined(data_of(streamed)))
        assert unscored(found, name) == unscored(expected, name, found), body
        compare_with_ours(http, model, door, body, plain.json())
    assert num_answered > NUM_BODIES * 0.4


def streaming(name: str) -> Shape:
    options = {"stream_options": {"include_usage": True}} if name in ("completions", "chat") else {}
    return {} if name == "TGI" else {"stream": True} | options


def found_nothing(response: httpx.Response) -> bool:
    """Whether random fields together left no token that could be chosen."""
    words = ("can be chosen", "no token fits", "nothing that it allows was found")
    return response.status_code in (424, 500) and any(word in response.text for word in words)


def is_refused(response: httpx.Response) -> bool:
    if response.status_code in REFUSED:
        return True
    last = data_of(response)[-1]
    return "error" in last or last["type"] == "response.failed"


def unscored(shape: Shape, name: str, found: Shape | None = None) -> Shape:
    """TGI's events have no place for log-probabilities that are known only at the end, those of a search."""
    tokens = (found or shape).get("details", {}).get("tokens", [])
    if name != "TGI" or any("logprob" in token for token in tokens):
        return shape
    details = {key: value for key, value in shape["details"].items() if key != "top_tokens"}
    details["tokens"] = [
        {key: value for key, value in token.items() if key != "logprob"} for token in details["tokens"]
    ]
    return shape | {"details": details}


def compare_with_ours(http: httpx.Client, model: Model, door: Door, body: Shape, answer: Shape) -> None:
    native = door.native(body, model).model_dump(mode="json", exclude_none=True, by_alias=True)
    response = http.post("/generate", json=native)
    assert response.status_code == 200, (body, response.text)
    if body.get("echo") or body.get("best_of") or body.get("tools"):
        return  # told otherwise there
    assert door.rows(body, answer) == door.ours(body, response.json()), body
    if "usage" in answer:
        usage, ours = door.plain(answer)["usage"], response.json()["usage"]
        assert usage.get("prompt_tokens", usage.get("input_tokens")) == ours["prompt_tokens"]
        assert usage.get("completion_tokens", usage.get("output_tokens")) == ours["generated_tokens"]
