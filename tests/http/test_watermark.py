"""`POST /watermark/detect`, and what requests may ask of the server's watermarks."""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.watermark.detection import score_green_lists, score_synthid
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig
from tests.fakes import FakeEngine, fake_info
from tests.http.conftest import client_of

pytestmark = pytest.mark.anyio

KEY = 982_451_653
HOUSE = {"hashing_key": KEY, "greenlist_ratio": 0.5}
SYNTHID = {"ngram_len": 3, "keys": [KEY, KEY + 2]}
WEIGHTS = {
    "prior": [0.5],
    "likelihood_model_watermarked.beta": [[[0.1, -0.2]]],
    "likelihood_model_watermarked.delta": [[[[0.0, 0.0], [0.3, 0.0]]]],
}
TEXT = [7, 8, 9, 7, 8, 9, 100, 3, 50, 60]
Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def serve(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Serve]:
    """Opens a client of a server that keeps three watermarks; keywords are further settings of the model."""
    contents = {
        "house": HOUSE,
        "syn": SYNTHID,
        "trained": SYNTHID | {"detector": "weights.json"},
        "weights": WEIGHTS,
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "secret.json").write_text(json.dumps({"watermarking_config": HOUSE}), encoding="utf-8")
    files = {name: tmp_path / f"{name}.json" for name in ("house", "syn", "trained")}
    async with AsyncExitStack() as stack:

        async def opened(info: dict[str, Any] | None = None, **model: Any) -> httpx.AsyncClient:
            engine.info = fake_info(engine.info.tokenizer_file, watermarks=sorted(files), **info or {})
            settings = Settings(model={"watermarks": files, **model}, server={"stored_configs": tmp_path})
            return await stack.enter_async_context(client_of(engine, settings))

        yield opened


async def detect(client: httpx.AsyncClient, **body: Any) -> Any:
    return (await client.post("/watermark/detect", json={"inputs": TEXT, **body})).json()


async def test_green_lists_are_scored(serve: Serve) -> None:
    client = await serve()
    expected = score_green_lists(WatermarkingConfig(**HOUSE), 256, TEXT, 0)
    for config in ("house", HOUSE):
        answer = await detect(client, watermarking_config=config, return_flags=True)
        assert answer["detections"] == [
            {
                "num_tokens": 10,
                "num_tokens_scored": 9,
                "num_green_tokens": expected.num_green_tokens,
                "green_fraction": expected.green_fraction,
                "z_score": expected.z_score,
                "p_value": expected.p_value,
                "confidence": 1 - expected.p_value,
                "prediction": False,
                "flags": expected.flags,
            }
        ]
        assert answer.get("watermark") == (config if config == "house" else None)
    assert expected.flags[0] is None
    low = await detect(client, watermarking_config="house", z_threshold=-100)
    assert low["detections"][0]["prediction"] is True
    assert "flags" not in low["detections"][0]
    once = await detect(client, watermarking_config="house", ignore_repeated_ngrams=True)
    assert once["detections"][0]["num_tokens_scored"] == 7


async def test_synthid_is_scored(serve: Serve) -> None:
    client = await serve()
    expected = score_synthid(SynthIDTextWatermarkingConfig(**SYNTHID), TEXT, (1,))
    plain = (await detect(client, watermarking_config="syn"))["detections"][0]
    assert plain == {
        "num_tokens": 10,
        "num_tokens_scored": expected.num_tokens_scored,
        "mean": expected.mean,
        "weighted_mean": expected.weighted_mean,
    }
    trained = (await detect(client, watermarking_config="trained", threshold=0, return_flags=True))["detections"][0]
    assert 0 < trained["posterior"] < 1
    assert trained["prediction"] is True
    assert trained["flags"] == expected.flags


async def test_texts_and_lists_are_scored_one_by_one(serve: Serve, encode: Callable[[str], list[int]]) -> None:
    client = await serve(default_watermark="house")
    texts = ["a text of some length", "another one"]
    by_text = await detect(client, inputs=texts)
    by_ids = await detect(client, inputs=[encode(text) for text in texts])
    assert by_text == by_ids
    assert by_text["watermark"] == "house"
    assert [one["num_tokens"] for one in by_text["detections"]] == [len(encode(text)) for text in texts]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/watermarking_config", "missing"),
        ({"watermarking_config": "none"}, "/watermarking_config", "missing"),
        ({"watermarking_config": "garden"}, "/watermarking_config", "unknown_name"),
        ({"watermarking_config": {"greenlist_ratio": 0.001}}, "/watermarking_config/greenlist_ratio", "out_of_range"),
        ({"watermarking_config": {"bias": "x"}}, "/watermarking_config/bias", "wrong_type"),
        ({"watermarking_config": "house", "inputs": [[5, 6], [7]]}, "/inputs/1", "too_short"),
        ({"watermarking_config": "syn", "inputs": [5, 6, 1, 7, 8]}, "/inputs", "too_short"),
        ({"watermarking_config": "house", "inputs": [[5, 6], []]}, "/inputs/1", "empty"),
        ({"watermarking_config": "house", "inputs": [5, 256]}, "/inputs/1", "out_of_range"),
        ({"watermarking_config": "house", "inputs": [5] * 32_769}, "/inputs", "out_of_range"),
        ({"watermarking_config": "house", "inputs": [[5, 6]] * 33}, "/inputs", "out_of_range"),
        ({"watermarking_config": "house", "threshold": 0.5}, "/threshold", "conflict"),
        ({"watermarking_config": "trained", "z_threshold": 3.0}, "/z_threshold", "conflict"),
        ({"watermarking_config": "syn", "threshold": 0.5}, "/threshold", "conflict"),
        ({"watermarking_config": "syn", "ignore_repeated_ngrams": True}, "/ignore_repeated_ngrams", "conflict"),
        ({"watermarking_config": "house", "z_treshold": 3.0}, "/z_treshold", "unknown_field"),
    ],
)
async def test_what_cannot_be_detected_is_refused_by_name(
    serve: Serve, body: dict[str, Any], pointer: str, code: str
) -> None:
    response = await (await serve()).post("/watermark/detect", json={"inputs": TEXT, **body})
    assert response.status_code == 422
    problem = response.json()["errors"][0]
    assert (problem["pointer"], problem["code"]) == (pointer, code)


async def generate(client: httpx.AsyncClient, outputs: dict[str, Any] | None = None, **config: Any) -> httpx.Response:
    body = {"inputs": [5, 6], "generation_config": {"max_new_tokens": 4, **config}, "outputs": outputs}
    return await client.post("/generate", json=body)


async def test_the_engine_gets_the_name_and_answers_show_no_more(serve: Serve, engine: FakeEngine, logs: Any) -> None:
    client = await serve(default_watermark="house")
    silent = await generate(client, {"config": True})
    named = await generate(client, {"config": True}, watermarking_config="syn")
    off = await generate(client, {"config": True}, watermarking_config="none")
    own = await generate(client, {"config": True}, watermarking_config=HOUSE)
    shown = [one.json()["generation_config"]["watermarking_config"] for one in (silent, named, off, own)]
    assert shown == ["house", "syn", "none", "hidden"]
    assert [one.config.watermarking_config for one in engine.submissions[:3]] == ["house", "syn", "none"]
    assert engine.submissions[3].config.watermarking_config.hashing_key == KEY
    texts = [one.text for one in (silent, named, own)]
    texts += [(await client.get(path)).text for path in ("/info", "/generation_config", "/generation_config/secret")]
    check = {"generation_config": {"watermarking_config": HOUSE}}
    texts.append((await client.post("/generation_config/validate", json=check)).text)
    texts.append((await client.post("/watermark/detect", json={"inputs": TEXT})).text)
    assert not [text for text in [*texts, str(logs)] if str(KEY) in text]


async def test_the_watermark_of_the_model_itself_is_obeyed_and_named(serve: Serve, engine: FakeEngine) -> None:
    client = await serve({"generation_config": {"watermarking_config": HOUSE}})
    answer = await generate(client, {"config": True})
    assert answer.json()["generation_config"]["watermarking_config"] == "model"
    assert engine.submissions[0].config.watermarking_config == "model"
    assert str(KEY) not in answer.text + (await client.get("/generation_config")).text
    assert (await detect(client))["watermark"] == "model"


async def test_names_are_listed(serve: Serve) -> None:
    info = (await (await serve(default_watermark="house")).get("/info")).json()
    assert (info["watermarks"], info["default_watermark"]) == (["house", "syn", "trained"], "house")


@pytest.mark.parametrize("given", ["none", HOUSE, "garden"])
async def test_a_required_watermark_cannot_be_left_out(serve: Serve, engine: FakeEngine, given: Any) -> None:
    client = await serve(default_watermark="house", require_watermark=True)
    refused = await generate(client, watermarking_config=given)
    assert refused.status_code == 422
    problem = refused.json()["errors"][0]
    assert problem["pointer"] == "/generation_config/watermarking_config"
    assert problem["code"] == ("unknown_name" if given == "garden" else "not_allowed")
    assert engine.submissions == []
    assert (await generate(client)).status_code == 200
    assert (await generate(client, watermarking_config="syn")).status_code == 200


async def test_a_required_watermark_without_a_default_has_to_be_named(serve: Serve) -> None:
    client = await serve(require_watermark=True)
    refused = await generate(client)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/generation_config/watermarking_config"
    assert refused.json()["errors"][0]["code"] == "missing"
    assert "house, syn, trained" in refused.json()["detail"]
    assert (await generate(client, watermarking_config="house")).status_code == 200


async def test_flags_without_a_watermark_are_refused(serve: Serve) -> None:
    refused = await generate(await serve(), {"watermark_flags": True})
    assert refused.json()["errors"][0]["pointer"] == "/outputs/watermark_flags"


async def test_each_generated_token_is_flagged(serve: Serve) -> None:
    client = await serve(default_watermark="house")
    sequence = (await generate(client, {"watermark_flags": True})).json()["sequences"][0]
    flags = score_green_lists(WatermarkingConfig(**HOUSE), 256, [5, 6, *sequence["token_ids"]]).flags
    assert sequence["watermark_flags"] == flags[2:]


async def test_a_text_full_of_green_tokens_is_predicted(serve: Serve) -> None:
    client = await serve()
    text = [7]
    mark = WatermarkingConfig(**HOUSE)
    while len(text) < 40:
        flags = {token: score_green_lists(mark, 256, [text[-1], token]).flags[1] for token in range(2, 40)}
        text.append(next(token for token, is_green in flags.items() if is_green))
    found = (await detect(client, inputs=text, watermarking_config="house"))["detections"][0]
    assert found["prediction"] is True
    assert found["z_score"] == pytest.approx(math.sqrt(39))


async def test_a_watermark_of_tgi_that_there_is_not_is_told_at_the_first_request(connect):
    client = await connect(tgi_watermark="garden")
    response = await client.post("/generate", json={"inputs": [3]})
    assert (response.status_code, response.json()["code"]) == (500, "model_unsupported")
    assert "tgi_watermark is garden" in response.json()["detail"]
