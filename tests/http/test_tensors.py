"""Scores and their kin in three forms, and the limit on their size."""

import base64
import json
import math

import numpy as np
import pytest
import safetensors.numpy

from beamhouse.engine.link.messages import TensorPiece
from beamhouse.server.answering.answer_json import tensor_json
from beamhouse.server.answering.tensors import read_values
from tests.fakes import fake_info

pytestmark = pytest.mark.anyio
BODY = {"inputs": [3], "generation_config": {"max_new_tokens": 2, "output_scores": True}}


async def test_json_is_nested_lists_with_words_for_what_json_cannot_say(client):
    answer = (await client.post("/generate", json=BODY)).json()
    scores = answer["tensors"]["scores"]
    assert (len(scores), len(scores[0]), len(scores[0][0])) == (2, 1, 256)
    assert scores[0][0][:4] == [0.0, "-Infinity", None, 0.0]


async def test_base64_keeps_type_shape_and_bytes(client, engine):
    response = await client.post("/generate", json={**BODY, "outputs": {"tensors": "base64"}})
    tensor = response.json()["tensors"]["scores"]
    assert (tensor["dtype"], tensor["shape"]) == ("float32", [2, 1, 256])
    assert base64.b64decode(tensor["data"]) == engine.finish(engine.submissions[0]).tensors["scores"].data


async def test_a_safetensors_file_holds_tensors_and_answer(client):
    response = await client.post("/generate", json={**BODY, "outputs": {"tensors": "safetensors"}})
    assert response.headers["content-type"] == "application/octet-stream"
    tensors = safetensors.numpy.load(response.content)
    assert tensors["scores"].shape == (2, 1, 256)
    assert np.isneginf(tensors["scores"][:, :, 1]).all()
    header_len = int.from_bytes(response.content[:8], "little")
    header = json.loads(response.content[8 : 8 + header_len])
    answer = json.loads(header["__metadata__"]["answer"])
    assert answer["sequences"][0]["token_ids"] == [4, 5]


async def test_tensors_of_several_prompts_say_whose_they_are(client):
    answer = (await client.post("/generate", json={**BODY, "inputs": [[3], [4]]})).json()
    assert set(answer["tensors"]) == {"prompt.0.scores", "prompt.1.scores"}


async def test_too_much_is_refused_before_anything_runs_and_names_the_field(connect, engine):
    limit = 2 * 256 * 4
    client = await connect(max_tensor_bytes=limit)
    file = {"tensors": "safetensors"}
    assert (await client.post("/generate", json={**BODY, "outputs": file})).status_code == 200
    engine.submissions.clear()
    for body in (
        {**BODY, "outputs": {"tensors": "json"}},
        {**BODY, "outputs": file, "generation_config": {"max_new_tokens": 3, "output_scores": True}},
        {**BODY, "outputs": file, "inputs": [[3], [4]]},
    ):
        response = await client.post("/generate", json=body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/generation_config/output_scores"
    assert engine.submissions == []


async def test_chosen_positions_make_room(connect):
    client = await connect(max_tensor_bytes=256 * 4)
    outputs = {"tensors": "safetensors", "positions": [0]}
    body = {**BODY, "generation_config": {"max_new_tokens": 1, "output_scores": True}, "outputs": outputs}
    assert (await client.post("/generate", json=body)).status_code == 200
    response = await client.post("/generate", json={**BODY, "outputs": {"tensors": "safetensors"}})
    assert response.status_code == 422


async def test_a_size_that_was_not_foreseen_is_still_not_sent(connect, engine, tokenizer_file):
    engine.info = fake_info(tokenizer_file, vocab_size=128)
    client = await connect(max_tensor_bytes=2 * 128 * 4)
    response = await client.post("/generate", json={**BODY, "outputs": {"tensors": "safetensors"}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/outputs/tensors"


async def test_a_stream_cannot_carry_a_file(client):
    response = await client.post("/generate", json={**BODY, "stream": True, "outputs": {"tensors": "safetensors"}})
    assert response.json()["errors"][0]["pointer"] == "/outputs/tensors"


def test_half_precision_is_read_exactly():
    values = np.array([1.5, -2.0, np.inf, 0.0], dtype=np.float32)
    short = (values.view(np.uint32) >> 16).astype("<u2")
    tensor = TensorPiece("bfloat16", [2, 2], short.tobytes())
    assert read_values(tensor).tolist() == [[1.5, -2.0], [math.inf, 0.0]]
    assert json.loads(bytes(tensor_json(tensor))) == [[1.5, -2.0], ["Infinity", 0.0]]
    half = TensorPiece("float16", [1, 2], np.array([0.5, np.nan], dtype="<f2").tobytes())
    assert json.loads(bytes(tensor_json(half))) == [[0.5, None]]
    whole = TensorPiece("int64", [2], np.array([1, 2], dtype="<i8").tobytes())
    assert json.loads(bytes(tensor_json(whole))) == [1, 2]
