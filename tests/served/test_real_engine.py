"""The real application with a real engine process: what clients do to it, well-behaved and not."""

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from beamhouse.server.command.bench.wire import events
from tests.deploy.processes import Replica
from tests.parity.running import generate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(server: Replica) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=100)) as client:
        yield client


async def metric(http: httpx.AsyncClient, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def until_idle(http: httpx.AsyncClient) -> None:
    with anyio.fail_after(20):
        while await metric(http, "beamhouse_requests_running") or await metric(http, "beamhouse_requests_waiting"):
            await anyio.sleep(0.02)


def sampled(seed: int, num_tokens: int = 24) -> dict[str, Any]:
    config = {"do_sample": True, "temperature": 0.9, "max_new_tokens": num_tokens}
    return {"inputs": [1, 350 + seed % 7, 412], "seed": seed, "generation_config": config}


def token_ids(answer: dict[str, Any]) -> list[int]:
    return answer["sequences"][0]["token_ids"]


async def test_a_plain_answer_is_what_generate_gives(http: httpx.AsyncClient) -> None:
    for body in (sampled(1), {"inputs": [1, 350, 412], "generation_config": {"max_new_tokens": 24}}):
        answer = (await http.post("/generate", json=body)).json()
        expected = generate("builtin", body["inputs"], body["generation_config"], body.get("seed"))
        assert token_ids(answer) == expected.token_ids[0]


async def test_a_prompt_alone_and_what_may_follow_it_are_told_by_the_engine(http: httpx.AsyncClient) -> None:
    outputs = {"prompt_only": True, "prompt_logprobs": True, "prompt_top_n_tokens": 2}
    read = (await http.post("/generate", json={"inputs": [1, 350, 412], "outputs": outputs})).json()
    assert (read["generated_text"], read["usage"]["generated_tokens"]) == ("", 0)
    assert read["sequences"][0]["finish_reason"] == {"type": "length"}
    (first, *logprobs), (nothing, *likely) = read["prompt_logprobs"][0], read["prompt_top_tokens"][0]
    assert (first, nothing, len(logprobs)) == (None, None, 2)
    assert all(
        tops[0]["logprob"] >= max(logprob, tops[1]["logprob"]) for tops, logprob in zip(likely, logprobs, strict=True)
    )
    scored = (await http.post("/score", json={"pairs": [{"prompt": [1], "continuation": [350, 412]}]})).json()
    assert scored["scores"][0]["logprobs"] == pytest.approx(logprobs, abs=1e-5)


async def test_where_no_token_ends_a_text_it_goes_on_to_its_length(http: httpx.AsyncClient) -> None:
    config = {"max_new_tokens": 12, "frequency_penalty": 2.0, "presence_penalty": 2.0}
    plain = (await http.post("/generate", json={"inputs": "Once", "generation_config": config})).json()
    ended = config | {"eos_token_id": plain["sequences"][0]["token_ids"][5]}
    bodies = [{"inputs": "Once", "generation_config": one} for one in (ended, config | {"eos_token_id": []})]
    short, whole = [(await http.post("/generate", json=body)).json()["sequences"][0] for body in bodies]
    assert short["num_tokens"] < whole["num_tokens"] == 12
    assert whole["finish_reason"] == {"type": "length"}


async def test_a_stream_carries_the_same_answer_piece_by_piece(http: httpx.AsyncClient) -> None:
    plain = (await http.post("/generate", json=sampled(2))).json()
    async with http.stream("POST", "/generate", json=sampled(2) | {"stream": True}) as response:
        assert response.headers["x-accel-buffering"] == "no"
        received = [event for _, *event in events([(0.0, await response.aread())])]
    assert [name for name, _ in received].count("done") == 1
    assert received[-1][0] == "done"
    pieces = [data for name, data in received if name in ("token", "tokens")]
    assert "".join(piece["text"] for piece in pieces) == plain["generated_text"] == received[-1][1]["generated_text"]
    assert token_ids(received[-1][1]) == token_ids(plain)


async def test_the_same_request_alone_and_among_31_others(http: httpx.AsyncClient) -> None:
    alone = token_ids((await http.post("/generate", json=sampled(77, 40))).json())
    answers: dict[int, list[int]] = {}

    async def ask(number: int, num_tokens: int) -> None:
        answers[number] = token_ids((await http.post("/generate", json=sampled(number, num_tokens))).json())

    async with anyio.create_task_group() as group:
        for number in range(31):
            group.start_soon(ask, number, 10 + number)
        group.start_soon(ask, 77, 40)
    assert answers[77] == alone
    assert len(answers) == 32


MODES: dict[str, dict[str, Any]] = {
    "greedy_search": {},
    "sample": {"seed": 5, "generation_config": {"do_sample": True}},
    "beam_search": {"generation_config": {"num_beams": 3, "num_return_sequences": 3}},
    "beam_sample": {"seed": 6, "generation_config": {"num_beams": 3, "do_sample": True}},
    "group_beam_search": {"generation_config": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.8}},
    "constrained_beam_search": {"force_words": ["girl"], "generation_config": {"num_beams": 4}},
    "contrastive_search": {"generation_config": {"penalty_alpha": 0.6, "top_k": 4}},
    "dola_generation": {"generation_config": {"dola_layers": "low"}},
    "assisted_generation": {"assistant_model": "draft"},
}


async def ask_mode(
    http: httpx.AsyncClient, mode: str, is_stream: bool, stop_strings: list[str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    """The sequences of an answer; those of a stream are the same as its pieces."""
    config = MODES[mode].get("generation_config", {}) | {"max_new_tokens": 20, "stop_strings": stop_strings}
    body = {"inputs": "Once upon a time", "mode": mode} | MODES[mode] | {"generation_config": config} | more
    if not is_stream:
        return (await http.post("/generate", json=body)).json()["sequences"]
    async with http.stream("POST", "/generate", json=body | {"stream": True}) as response:
        received = [event for _, *event in events([(0.0, await response.aread())])]
    pieces: dict[int, str] = {}
    for name, data in received:
        if name in ("token", "tokens"):
            pieces[data["sequence"]] = pieces.get(data["sequence"], "") + data["text"]
    sequences = received[-1][1]["sequences"]
    assert [pieces.get(sequence["index"], "") for sequence in sequences] == [one["text"] for one in sequences]
    return sequences


async def test_every_mode_answers_at_once_as_it_does_alone(http: httpx.AsyncClient) -> None:
    alone = {mode: await ask_mode(http, mode, is_stream=False) for mode in MODES}
    together: dict[tuple[str, bool], list[dict[str, Any]]] = {}

    async def keep(mode: str, is_stream: bool) -> None:
        together[mode, is_stream] = await ask_mode(http, mode, is_stream)

    async with anyio.create_task_group() as group:
        for mode in MODES:
            group.start_soon(keep, mode, False)
            group.start_soon(keep, mode, True)
    for (mode, _), sequences in together.items():
        assert [one["token_ids"] for one in sequences] == [one["token_ids"] for one in alone[mode]], mode
    assert "girl" in together["constrained_beam_search", True][0]["text"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_text_ends_before_its_stop_string_in_every_mode(http: httpx.AsyncClient, mode: str) -> None:
    stop_strings, outputs = [" wa", "th", "e w", "."], {"include_stop_string": False}
    kept = await ask_mode(http, mode, False, stop_strings)
    for is_stream in (False, True):
        cut = await ask_mode(http, mode, is_stream, stop_strings, outputs=outputs)
        for with_it, without in zip(kept, cut, strict=True):
            reason = with_it["finish_reason"]
            end = with_it["text"].index(reason["stop_string"]) if reason["type"] == "stop_string" else None
            assert without["text"] == with_it["text"][:end]
            assert {**without, "text": ""} == {**with_it, "text": ""}
    assert any(sequence["finish_reason"]["type"] == "stop_string" for sequence in kept)


async def test_fifty_clients_at_once_share_steps(http: httpx.AsyncClient) -> None:
    await until_idle(http)
    answers: dict[int, httpx.Response] = {}

    async def ask(number: int) -> None:
        answers[number] = await http.post("/generate", json=sampled(number, 16))

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(ask, number)
    assert {answer.status_code for answer in answers.values()} == {200}
    for number in (0, 23, 49):
        body = sampled(number, 16)
        expected = generate("builtin", body["inputs"], body["generation_config"], number)
        assert token_ids(answers[number].json()) == expected.token_ids[0]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_client_that_goes_away_stops_its_work(http: httpx.AsyncClient, is_stream: bool) -> None:
    await until_idle(http)
    body = {"inputs": [1, 350], "stream": is_stream, "generation_config": {"max_new_tokens": 1000, "eos_token_id": 2}}
    with anyio.move_on_after(1.5):
        async with http.stream("POST", "/generate", json=body) as response:
            async for _ in response.aiter_lines():
                break
    await until_idle(http)
    assert await metric(http, "beamhouse_kv_cache_usage_ratio") == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"inputs": "a", "generation_config": {"top_p": NaN}}', 400),
        (b'{"inputs": "a", "inputs": "b"}', 400),
        (b'{"inputs": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b'{"inputs": "a", "generation_config": {"top_p": 1.5}}', 422),
        (b'{"inputs": "a", "generation_config": {"num_beams": 3, "num_return_sequences": 4}}', 422),
        (b'{"inputs": [[5000]]}', 422),
        (b'{"inputs": []}', 422),
    ],
)
async def test_bad_bodies_are_refused_and_hurt_nobody(http: httpx.AsyncClient, body: bytes, status: int) -> None:
    response = await http.post("/generate", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) <= 4096
    assert (await http.get("/health/ready")).status_code == 200
