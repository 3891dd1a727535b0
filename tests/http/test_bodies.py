"""Bodies that are not exactly JSON, too large, too slow or encoded: a 4xx. Large ones are read off the event loop."""

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamhouse.server.answering import start
from beamhouse.server.edge import strict_json
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_json
from tests.http.problems import check_problem
from tests.http.sending import JSON, post

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": "a", "deadline_s": NaN}',
        b'{"inputs": "a", "deadline_s": Infinity}',
        b'{"inputs": "a", "deadline_s": 1e999}',
        b'{"inputs": NaN}',
        b'{"inputs": "\\ud800"}',
        b'{"\\udfff": 1}',
        b"[" * 1000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"inputs": "\xff"}',
        '{"inputs": "a"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"inputs": "a"}',
        b'{"inputs": "a", "inputs": "b"}',
        b'{"inputs": "a", "generation_config": {"top_k": 1, "top_k": 2}}',
        b'{"inputs": "a", "generation_config": "{\\"top_k\\": 1, \\"top_k\\": 2}"}',
        b'{"inputs": "a", "generation_config": "{"}',
        b'{"seed": ' + b"1" * 4301 + b"}",
        b"",
        b"{",
        b'{"inputs": "a"} {}',
    ],
)
async def test_what_is_not_json_is_malformed(client, engine, body):
    check_problem(await post(client, body), 400)
    assert engine.submissions == []


async def test_a_body_over_the_limit_is_refused_as_it_arrives(connect):
    client = await connect(max_body_bytes=2000)
    read = 0

    async def chunks():
        nonlocal read
        for _ in range(1000):
            read += 1000
            yield b" " * 1000

    announced = await post(client, b" " * 2001)
    streamed = await client.post("/generate", content=chunks(), headers=JSON)
    assert check_problem(announced, 413)["code"] == "body_too_large"
    check_problem(streamed, 413)
    check_problem(await post(client, b"{}", **{"content-length": "1" + "0" * 20}), 413)
    assert read <= 2000 + 64_000


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
async def test_other_kinds_of_content_are_refused(client, kind):
    check_problem(await post(client, b'{"inputs": "a"}', **{"content-type": kind}), 415)


async def test_the_kind_of_content_must_be_said(client):
    check_problem(await client.post("/generate", content=b'{"inputs": "a"}'), 415)


async def test_a_slow_body_is_given_up(connect):
    client = await connect(body_timeout_s=0.05)

    async def never():
        yield b"{"
        await asyncio.Event().wait()

    check_problem(await client.post("/generate", content=never(), headers=JSON), 408)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text('a:"\\{}[],\n', max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a:"\\', max_size=3), inner, max_size=3),
        max_leaves=12,
    ),
    st.booleans(),
)
def test_keys_are_counted_whatever_strings_hold(value, is_spaced):
    text = json.dumps(value, separators=(" , ", " : ") if is_spaced else (",", ":"))
    assert parse_json(text.encode()) == value
    with pytest.raises(Refused) as refusal:
        parse_json(f'{{"x": {text}, "y": {{"k": 1, "k": {text}}}}}'.encode())
    assert refusal.value.code == "duplicate_key"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "nonsense"])
async def test_an_encoded_body_is_refused_by_name(client, engine, coding):
    for path in ("/generate", "/tokenize", "/score", "/generation_config/validate"):
        answer = await client.post(path, content=b'{"inputs": "a"}', headers={**JSON, "content-encoding": coding})
        problem = check_problem(answer, 415)
        assert (problem["code"], answer.headers["accept-encoding"]) == ("unsupported_encoding", "identity")
        assert coding in problem["detail"]
    assert engine.submissions == []


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_a_body_that_says_it_is_not_encoded_is_read(client, coding):
    assert (await post(client, b'{"inputs": "a"}', **{"content-encoding": coding})).status_code == 200


async def test_a_large_body_is_made_a_model_beside_the_event_loop(client, monkeypatch):
    threads = []
    monkeypatch.setattr(strict_json, "unfold_config", lambda body: threads.append(threading.get_ident()) or body)
    for inputs in ([7], [7] * 20_000):
        await post(client, json.dumps({"inputs": inputs}).encode())
    assert threads[0] == threading.get_ident()
    assert threading.get_ident() not in threads[1:]
    assert len(threads) == 2


async def test_a_large_configuration_is_looked_through_beside_the_event_loop(client, monkeypatch):
    threads = []

    def noting(work):
        return lambda *given: threads.append(threading.get_ident()) or work(*given)

    for name in ("judged", "accept"):
        monkeypatch.setattr(start, name, noting(getattr(start, name)))
    for words in ([[5, 6]], [[place % 200, place // 200] for place in range(2000)]):
        config = {"max_new_tokens": 1, "sequence_bias": [[ids, -1.0] for ids in words]}
        await client.post("/generate", json={"inputs": [7], "generation_config": config})
    assert threads[:2] == [threading.get_ident()] * 2
    assert threading.get_ident() not in threads[2:]
    assert len(threads) == 4
